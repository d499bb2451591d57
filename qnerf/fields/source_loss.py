"""What the training of a source field minimises (docs/method.md §7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import torch
from torch import Tensor

from qnerf.determinism import running_sum
from qnerf.fields.bounded import BoundedTrunk
from qnerf.fields.rendering import Samples, expected_depth
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.cameras import Cameras

if TYPE_CHECKING:
    from qnerf.fields.source_field import SourceField

LATER = 0.1
"""How far the ground and the colours at infinity learn from rays through the proxy's bounds once the volume is open. Each direction
is seen by few cameras: at full rate they would show what the object hides as a picture of the object."""


class SourceLoss:
    """The loss of a batch of pixels, most of which may show the object.

    images: (N, 3, H, W). near: (N, H, W) bool, pixels whose rays pass the proxy's bounds or their rim. depth: (N, H, W), or None.
    left_out: (N, H, W) bool, pixels that nothing is learnt from.
    """

    def __init__(
        self, field: SourceField, images: Tensor, cameras: Cameras, near: Tensor, depth: Tensor | None, left_out: Tensor
    ) -> None:
        self.field, self.cameras, self.settings = field, cameras, field.settings
        device, count = cameras.focal.device, field.settings.optimiser.rays_per_batch
        self.grid = TokenGrid(len(cameras), cameras.height, cameras.width)
        self.colours = images.float().permute(0, 2, 3, 1).reshape(-1, 3).to(device)
        self.depth = None if depth is None else depth.flatten().to(device)
        self.filled = without_object(images, near | left_out).permute(0, 2, 3, 1).reshape(-1, 3).to(device)
        self.near = near.flatten().to(device).float()
        counting = ~left_out.flatten()
        self.anywhere = counting.nonzero()[:, 0].to(device)
        near = (near.flatten() & counting).nonzero()[:, 0].to(device)
        self.object = near if len(near) else self.anywhere
        self.shares = (round(count * self.settings.object_share), count - round(count * self.settings.object_share))

    def fetch(self, step: int) -> None:
        """Nothing: all is on the device."""

    def __call__(self, step: Tensor, generator: torch.Generator) -> Tensor:
        device = self.object.device
        on_object, anywhere = (
            torch.randint(end, (share,), generator=generator, device=device)
            for end, share in zip((len(self.object), len(self.anywhere)), self.shares, strict=True)
        )
        pixels = torch.cat([self.object[on_object], self.anywhere[anywhere]])
        inside = 0.5 + self.settings.jitter * (torch.rand(len(pixels), 2, generator=generator, device=device) - 0.5)
        rays = self.grid.rays(self.cameras, pixels, inside)
        wanted, near = self.settings, self.near[pixels]
        closed = (step < wanted.closed_until * wanted.optimiser.iterations).float()
        learning = 1 - near * (1 - LATER * (1 - closed))
        march = self.field.march(rays, wanted.sampling.fine_samples, generator, closed, learning)
        behind = ((march.behind - self.filled[pixels]).square().mean(-1) * near).mean()
        loss = (march.colours - self.colours[pixels]).square().mean() + wanted.behind_weight * closed * behind
        loss = loss + wanted.distortion_weight * distortion(march.weights, march.samples).mean()
        if isinstance(self.field.trunk, BoundedTrunk):
            volume = march.volume[: self.shares[0]]
            outside = self.field.trunk.outside(march.samples.positions[: self.shares[0]])
            opacity = volume.sum(-1)
            loss = loss + wanted.outside_weight * (volume * outside).sum(-1).mean()
            loss = loss + wanted.opacity_weight * (opacity * (1 - opacity)).mean()
        if self.depth is not None:
            loss = loss + wanted.depth_weight * depth_loss(march.weights, march.samples, self.depth[pixels])
        return loss


def without_object(images: Tensor, hidden: Tensor) -> Tensor:
    """images (N, 3, H, W) in [0, 1] with the pixels `hidden` (N, H, W), bool, filled from their rim (Telea 2004): a first guess."""
    filled = images.clone()
    for view, (image, mask) in enumerate(zip(images, hidden, strict=True)):
        if mask.any() and not mask.all():
            picture = (image.permute(1, 2, 0).cpu().numpy() * 255).round().astype("uint8")
            found = cv2.inpaint(picture, mask.cpu().numpy().astype("uint8"), 3, cv2.INPAINT_TELEA)
            filled[view] = torch.from_numpy(found).permute(2, 0, 1) / 255
    return filled


def distortion(weights: Tensor, samples: Samples) -> Tensor:
    """mip-NeRF 360's distortion (eq. 15) of each ray (R,), distances in radii:
    Σ_ij w_i w_j |m_i - m_j| + 1/3 Σ_i w_i² (e_i - s_i), with the middles m of the intervals, in order of distance."""
    middle, width = (samples.starts + samples.ends) / (2 * samples.radius), (samples.ends - samples.starts) / samples.radius
    before = running_sum(weights) - weights
    moment = running_sum(weights * middle) - weights * middle
    apart = 2 * (weights * (middle * before - moment)).sum(-1)
    return apart + (weights.square() * width).sum(-1) / 3


def depth_loss(weights: Tensor, samples: Samples, depth: Tensor) -> Tensor:
    """Mean of |expected depth - depth| in radii, over the rays whose depth (R,) is known; 0 where none is."""
    known = torch.isfinite(depth)
    error = (expected_depth(weights, samples) - torch.where(known, depth, 0.0)).abs() / samples.radius
    return (error * known).sum() / known.sum().clamp_min(1)
