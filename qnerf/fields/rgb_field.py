"""A radiance field without view dependence, on the query field's trunk: colours instead of queries, at every sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qnerf.devices import pinned_like
from qnerf.errors import UserError
from qnerf.fields.background import Background
from qnerf.fields.rendering import composite, expected_depth
from qnerf.fields.settings import RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid, render_pixels
from qnerf.fields.training import OnStep, train
from qnerf.fields.trunk import Trunk, derive_seed, linear
from qnerf.graphs import RecorderOf, cuda_recorder
from qnerf.scenes.cameras import Cameras, Rays


class RgbField(nn.Module):
    """Colour is a sigmoid of a linear map of the hidden feature; what no density stops takes a learnt colour of its direction."""

    def __init__(self, settings: RgbFieldSettings, space: Space, device: torch.device, seed: int) -> None:
        super().__init__()
        self.settings, self.space = settings, space
        self.trunk = Trunk(settings, space, device, seed)
        generator = torch.Generator().manual_seed(derive_seed(seed, 5))
        self.head = linear(settings.geometry_width, 3, generator, device)
        self.background = Background(3, device)

    def march(self, rays: Rays, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Colours (R, 3) in [0, 1] and expected depth (R,), world units, of rays (R, 3)."""
        samples, weights, hidden = self.trunk.march(rays, count, generator)
        colour = composite(weights, torch.sigmoid(self.head(hidden)))
        colour = colour + (1 - weights.sum(-1))[:, None] * torch.sigmoid(self.background(rays.directions))
        return colour, expected_depth(weights, samples)

    @torch.no_grad()
    def render(self, cameras: Cameras, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (V, 3, H, W) in [0, 1] and depth (V, H, W), distance along the ray, at the cameras' own resolution.

        where: (V, H, W) bool, the pixels that are wanted; the others are 0. None: all.
        """
        return render_pixels(cameras, where, lambda rays: self.march(rays, self.settings.sampling.render_samples, None))


def train_rgb_field(
    images: Tensor,
    cameras: Cameras,
    space: Space,
    settings: RgbFieldSettings,
    seed: int,
    on_step: OnStep | None = None,
    recorder_of: RecorderOf = cuda_recorder,
) -> RgbField:
    """Fit a radiance field to images (V, 3, H, W) in [0, 1] of `cameras`, by mean squared error on random pixels.

    The field is where the cameras are; the images may be in the host's memory, whose generator then draws the pixels.

    on_step(step, total, loss), recorder_of: as for `training.train`. On the CPU the same arguments give bit-equal fields.
    """
    expected = (len(cameras), 3, cameras.height, cameras.width)
    if tuple(images.shape) != expected:
        raise UserError(f"the images have shape {tuple(images.shape)}, but the cameras expect {expected}; resize the images")
    field = RgbField(settings, space, cameras.focal.device, seed)
    train(field, field.trunk, ColourLoss(field, images, cameras, seed), settings.optimiser, seed, on_step, recorder_of)
    return field


class ColourLoss:
    """Mean squared error of the colours at random points of random pixels, against images (V, 3, H, W)."""

    def __init__(self, field: RgbField, images: Tensor, cameras: Cameras, seed: int) -> None:
        self.field, self.cameras, self.seed = field, cameras, seed
        self.grid = TokenGrid(len(cameras), cameras.height, cameras.width)
        self.targets = images.float().permute(0, 2, 3, 1).reshape(-1, 3)
        self.count, self.device = field.settings.optimiser.rays_per_batch, cameras.focal.device
        self.fetched: tuple[Tensor, Tensor] | None = None
        if self.targets.device != self.device:
            pixels = torch.empty(self.count, dtype=torch.long, device=self.device)
            self.fetched = (pixels, torch.empty(self.count, 3, device=self.device))

    def fetch(self, step: int) -> None:
        if self.fetched is not None:
            pixels, colours = (pinned_like(x) for x in self.fetched)
            generator = torch.Generator().manual_seed(derive_seed(self.seed, 8, step))
            torch.randint(len(self.grid), pixels.shape, generator=generator, out=pixels)
            torch.index_select(self.targets, 0, pixels, out=colours)
            for place, found in zip(self.fetched, (pixels, colours), strict=True):
                place.copy_(found, non_blocking=True)

    def __call__(self, step: Tensor, generator: torch.Generator) -> Tensor:
        if self.fetched is None:
            pixels = torch.randint(len(self.grid), (self.count,), generator=generator, device=self.device)
            wanted = self.targets[pixels]
        else:
            pixels, wanted = self.fetched
        inside = torch.rand(self.count, 2, generator=generator, device=self.device)
        rays = self.grid.rays(self.cameras, pixels, inside)
        colours, _ = self.field.march(rays, self.field.settings.sampling.fine_samples, generator)
        return (colours - wanted).square().mean()
