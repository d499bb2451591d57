"""The radiance field of the source views: what posing carries into the edited scene (docs/method.md §2.6)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qnerf.errors import UserError
from qnerf.fields.background import Background
from qnerf.fields.rendering import Samples, composite, expected_depth, sample_rays
from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid
from qnerf.fields.training import OnStep, train
from qnerf.fields.trunk import Trunk, derive_seed, linear
from qnerf.scenes.cameras import Cameras, Rays
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.scene import Proxy

RAY_CHUNK = 4096


class SourceField(nn.Module):
    """Density and colour of every point of the scene, without view dependence, and the colour of what no density stops."""

    def __init__(self, settings: SourceFieldSettings, space: Space, device: torch.device, seed: int) -> None:
        super().__init__()
        self.settings, self.space = settings, space
        self.trunk = Trunk(settings, space, device, seed)
        generator = torch.Generator().manual_seed(derive_seed(seed, 5))
        self.head = linear(settings.geometry_width, 3, generator, device)
        self.background = Background(3, device)

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (P, 3) to density (P,), per radius of length, and colour (P, 3) in [0, 1]."""
        density, hidden = self.trunk(self.space.to_cube(points))
        return density, torch.sigmoid(self.head(hidden))

    def surroundings(self, directions: Tensor) -> Tensor:
        """Unit directions (R, 3) to the colour (R, 3) in [0, 1] of what no density stops."""
        return torch.sigmoid(self.background(directions))

    @torch.no_grad()
    def edges(self, rays: Rays, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Where to sample rays (R, 3): (R, count + 1) ascending distances, world units; `generator` None: always the same."""
        samples = sample_rays(rays, self.space, self.trunk.proposal, self.settings.sampling, count, generator)
        return torch.cat([samples.starts, samples.ends[:, -1:]], dim=1)

    def march(self, rays: Rays, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Samples]:
        """Colours (R, 3), weights (R, count) and samples of rays (R, 3)."""
        samples, weights, hidden = self.trunk.march(rays, count, generator)
        colour = composite(weights, torch.sigmoid(self.head(hidden)))
        return colour + (1 - weights.sum(-1))[:, None] * self.surroundings(rays.directions), weights, samples

    @torch.no_grad()
    def render(self, cameras: Cameras, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) in [0, 1] and depth (N, H, W), distance along the ray, at the cameras' own resolution.

        where: (N, H, W) bool, the pixels that are wanted; the others are 0. None: all.
        """
        grid = TokenGrid(len(cameras), cameras.height, cameras.width)
        device = self.head.weight.device
        wanted = torch.arange(len(grid), device=device)
        wanted = wanted if where is None else wanted[where.flatten()]
        colours, depths = torch.zeros(len(grid), 3, device=device), torch.zeros(len(grid), device=device)
        for pixels in wanted.split(RAY_CHUNK) if len(wanted) else ():
            rays = grid.rays(cameras, pixels, torch.full((len(pixels), 2), 0.5, device=device))
            colours[pixels], weights, samples = self.march(rays, self.settings.sampling.render_samples, None)
            depths[pixels] = expected_depth(weights, samples)
        size = (len(cameras), cameras.height, cameras.width)
        return colours.view(*size, 3).permute(0, 3, 1, 2).clamp(0, 1).contiguous(), depths.view(size)


def train_source_field(
    images: Tensor,
    cameras: Cameras,
    space: Space,
    settings: SourceFieldSettings,
    seed: int,
    proxy: Proxy | None = None,
    depth: Tensor | None = None,
    on_step: OnStep | None = None,
) -> SourceField:
    """Fit a field to images (N, 3, H, W) in [0, 1] of `cameras`, most of its rays through the proxy's source bounds.

    depth: (N, H, W) distance along the ray, world units, infinite where it is not known. The field is where the cameras are.
    On the CPU the same arguments give bit-equal fields. Raises UserError for shapes that do not fit.
    """
    size = (len(cameras), cameras.height, cameras.width)
    problems = []
    if tuple(images.shape) != (size[0], 3, *size[1:]):
        problems.append(f"the images have shape {tuple(images.shape)}, but the cameras expect {(size[0], 3, *size[1:])}")
    if depth is not None and tuple(depth.shape) != size:
        problems.append(f"the depth has shape {tuple(depth.shape)}, but the cameras expect {size}")
    if problems:
        raise UserError("; ".join(problems) + ": resize what does not fit")
    field = SourceField(settings, space, cameras.focal.device, seed)
    train(field, field.trunk, SourceLoss(field, images, cameras, proxy, depth), settings.optimiser, seed, on_step)
    for parameter in field.parameters():
        parameter.requires_grad_(False)
    return field


class SourceLoss:
    """Colours at random points of random pixels, weights gathered in one place, and depth where it is known."""

    def __init__(self, field: SourceField, images: Tensor, cameras: Cameras, proxy: Proxy | None, depth: Tensor | None) -> None:
        self.field, self.cameras, self.settings = field, cameras, field.settings
        device, count = cameras.focal.device, field.settings.optimiser.rays_per_batch
        self.grid = TokenGrid(len(cameras), cameras.height, cameras.width)
        self.colours = images.float().permute(0, 2, 3, 1).reshape(-1, 3).to(device)
        self.depth = None if depth is None else depth.flatten().to(device)
        self.object = torch.arange(len(self.grid), device=device)
        if proxy is not None:
            bounds = bounds_distance(proxy, "source", cameras, (cameras.height, cameras.width))
            hit = torch.isfinite(bounds).flatten().nonzero()[:, 0]
            self.object = hit if len(hit) else self.object
        self.shares = (round(count * self.settings.object_share), count - round(count * self.settings.object_share))

    def fetch(self, step: int) -> None:
        """Nothing: all is on the device."""

    def __call__(self, step: Tensor, generator: torch.Generator) -> Tensor:
        device = self.object.device
        on_object, anywhere = (
            torch.randint(end, (share,), generator=generator, device=device)
            for end, share in zip((len(self.object), len(self.grid)), self.shares, strict=True)
        )
        pixels = torch.cat([self.object[on_object], anywhere])
        rays = self.grid.rays(self.cameras, pixels, torch.rand(len(pixels), 2, generator=generator, device=device))
        colours, weights, samples = self.field.march(rays, self.settings.sampling.fine_samples, generator)
        loss = (colours - self.colours[pixels]).square().mean()
        if self.settings.distortion_weight:
            loss = loss + self.settings.distortion_weight * distortion(weights, samples).mean()
        if self.depth is not None and self.settings.depth_weight:
            loss = loss + self.settings.depth_weight * depth_loss(weights, samples, self.depth[pixels])
        return loss


def distortion(weights: Tensor, samples: Samples) -> Tensor:
    """mip-NeRF 360's distortion (eq. 15) of each ray (R,), distances in radii:
    Σ_ij w_i w_j |m_i - m_j| + 1/3 Σ_i w_i² (e_i - s_i), with the middles m of the intervals, in order of distance."""
    middle, width = (samples.starts + samples.ends) / (2 * samples.radius), (samples.ends - samples.starts) / samples.radius
    before = weights.cumsum(-1) - weights
    moment = (weights * middle).cumsum(-1) - weights * middle
    apart = 2 * (weights * (middle * before - moment)).sum(-1)
    return apart + (weights.square() * width).sum(-1) / 3


def depth_loss(weights: Tensor, samples: Samples, depth: Tensor) -> Tensor:
    """Mean of |expected depth - depth| in radii, over the rays whose depth (R,) is known; 0 where none is."""
    known = torch.isfinite(depth)
    error = (expected_depth(weights, samples) - torch.where(known, depth, 0.0)).abs() / samples.radius
    return (error * known).sum() / known.sum().clamp_min(1)
