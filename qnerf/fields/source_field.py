"""The radiance field of the source views: what posing carries into the edited scene (docs/method.md §2.6)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from qnerf.errors import UserError
from qnerf.fields.bounded import BoundedTrunk
from qnerf.fields.ground_plane import find_plane
from qnerf.fields.rendering import Samples, composite, composite_weights, expected_depth, sample_rays, samples_between
from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.space import Space
from qnerf.fields.surroundings import Ground, Sky
from qnerf.fields.token_rays import TokenGrid
from qnerf.fields.training import OnStep, train
from qnerf.fields.trunk import Trunk, derive_seed, linear
from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.cameras import Cameras, Rays
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.scene import Proxy

RAY_CHUNK = 4096
TINY = 1e-12
RIM = 4
REST = 0.9


@dataclass(frozen=True)
class March:
    """R rays: their colours (R, 3), those of ground and infinity alone, the samples, the weight (R, S) of each, and the volume's
    share of it, without the ground."""

    colours: Tensor
    behind: Tensor
    samples: Samples
    weights: Tensor
    volume: Tensor


class SourceField(nn.Module):
    """Density and colour of every point, without view dependence: a volume, the plane of a floor or a wall, and colours at infinity.

    proxy: its source bounds are where the volume starts dense; None: in a ball round the focus. plane: (4,), as
    `find_plane` finds it; None: none.
    """

    def __init__(
        self,
        settings: SourceFieldSettings,
        space: Space,
        device: torch.device,
        seed: int,
        proxy: Proxy | None,
        plane: Tensor | None,
    ) -> None:
        super().__init__()
        self.settings, self.space = settings, space
        solids = () if proxy is None else proxy_bounds(proxy, "source").solids
        self.trunk = BoundedTrunk(settings, space, solids, device, seed) if solids else Trunk(settings, space, device, seed)
        self.head = linear(settings.geometry_width, 3, torch.Generator().manual_seed(derive_seed(seed, 5)), device)
        pictures = (settings.surroundings, settings.encoding)
        self.sky = Sky(*pictures, device, derive_seed(seed, 6))
        self.ground = None if plane is None else Ground(plane, *pictures, space, device, derive_seed(seed, 7))

    def radiance(self, points: Tensor, ground: bool = True) -> tuple[Tensor, Tensor]:
        """World points (P, 3) to density (P,), per radius of length, and colour (P, 3) in [0, 1]. ground: with the ground plane."""
        density, hidden = self.trunk(self.space.to_cube(points))
        colour = torch.sigmoid(self.head(hidden))
        if not ground or self.ground is None:
            return density, colour
        inside = self.ground.contains(points)
        slab, paint = self.ground(points)
        slab = slab * inside
        total = density + slab
        return total, (density[:, None] * colour + slab[:, None] * paint) / total[:, None].clamp_min(TINY)

    def surroundings(self, directions: Tensor) -> Tensor:
        """Unit directions (R, 3) to the colour (R, 3) in [0, 1] of what no density stops."""
        return self.sky(directions)

    @torch.no_grad()
    def edges(self, rays: Rays, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Where to sample rays (R, 3): (R, count + 1) ascending distances, world units; `generator` None: always the same.

        A ray that meets the ground has an interval in it.
        """
        own = count if self.ground is None else count - 2
        samples = sample_rays(rays, self.space, self.trunk.proposal, self.settings.sampling, own, generator)
        edges = torch.cat([samples.starts, samples.ends[:, -1:]], dim=1)
        if self.ground is None:
            return edges
        crossing, met = self.ground.crossing(rays)
        return torch.cat([edges, torch.where(met[:, None], crossing, edges[:, -1:])], dim=1).sort(dim=1).values

    def march(
        self,
        rays: Rays,
        count: int,
        generator: torch.Generator | None,
        closed: Tensor | None = None,
        learning: Tensor | None = None,
    ) -> March:
        """Samples rays (R, 3) as `radiance` does at the edges' middles, but looks at the ground once a ray.

        closed: () in [0, 1], how far the volume outside the proxy's bounds is emptied; None: not at all. learning: (R,) in [0, 1],
        how far ground and colours at infinity learn from a ray; None: wholly.
        """
        samples = samples_between(self.edges(rays, count, generator), rays, self.space)
        density, hidden = self.trunk(samples.positions)
        if closed is not None and isinstance(self.trunk, BoundedTrunk):
            density = density * (1 - closed * self.trunk.outside(samples.positions))
        if self.settings.sampling.scale_near_gradients and density.requires_grad:
            self.trunk.scale_near_gradients(density, hidden, samples, rays)
        colour = torch.sigmoid(self.head(hidden))
        volume, behind = torch.ones_like(density), self.surroundings(rays.directions)
        sky = _scaled(behind, learning)
        if self.ground is not None:
            crossing, met = self.ground.crossing(rays)
            slab, paint = self.ground(rays.origins + crossing.mean(dim=1, keepdim=True) * met[:, None] * rays.directions)
            stopped = (1 - (-slab * (crossing[:, 1] - crossing[:, 0]) / self.space.radius).exp()) * met
            behind = behind + stopped[:, None] * (paint - behind)
            slab, paint = _scaled(slab, learning), _scaled(paint, learning)
            middle = (samples.starts + samples.ends) / 2
            inside = (middle > crossing[:, :1]) & (middle < crossing[:, 1:]) & met[:, None]
            slab = slab[:, None] * inside
            volume = 1 - slab / (density + slab).clamp_min(TINY)
            density, colour = density + slab, paint[:, None] + volume[..., None] * (colour - paint[:, None])
        weights = composite_weights(density, samples)
        seen = composite(weights, colour) + (1 - weights.sum(-1))[:, None] * sky
        return March(seen, behind, samples, weights, weights * volume)

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
            march = self.march(rays, self.settings.sampling.render_samples, None)
            colours[pixels], depths[pixels] = march.colours, expected_depth(march.weights, march.samples)
        size = (len(cameras), cameras.height, cameras.width)
        return colours.view(*size, 3).permute(0, 3, 1, 2).clamp(0, 1).contiguous(), depths.view(size)


def _scaled(value: Tensor, learning: Tensor | None) -> Tensor:
    """value (R, ...), its gradients times learning (R,)."""
    if learning is None:
        return value
    return value.detach() + (value - value.detach()) * learning.view(-1, *[1] * (value.dim() - 1))


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
    near = torch.zeros(size, dtype=torch.bool, device=images.device)
    if proxy is not None:
        near = torch.isfinite(bounds_distance(proxy, "source", cameras, size[1:])).to(images.device)
        near = max_pool2d(near[:, None].float(), 2 * RIM + 1, 1, RIM)[:, 0] > 0
    plane = find_plane(images, cameras.to(images.device), space, near) if settings.ground else None
    field = SourceField(settings, space, cameras.focal.device, seed, proxy, plane)
    seen = images.permute(0, 2, 3, 1)[~near] if not near.all() else images.permute(0, 2, 3, 1).reshape(-1, 3)
    for part in (field.sky, field.ground):
        if part is not None:
            part.picture.start_from(seen.mean(dim=0).to(cameras.focal.device))
    train(field, field.trunk, SourceLoss(field, images, cameras, near, depth), settings.optimiser, seed, on_step)
    for parameter in field.parameters():
        parameter.requires_grad_(False)
    return field


class SourceLoss:
    """Colours at random points of random pixels, weights gathered in one place, and depth where it is known."""

    def __init__(self, field: SourceField, images: Tensor, cameras: Cameras, near: Tensor, depth: Tensor | None) -> None:
        self.field, self.cameras, self.settings = field, cameras, field.settings
        device, count = cameras.focal.device, field.settings.optimiser.rays_per_batch
        self.grid = TokenGrid(len(cameras), cameras.height, cameras.width)
        self.colours = images.float().permute(0, 2, 3, 1).reshape(-1, 3).to(device)
        self.depth = None if depth is None else depth.flatten().to(device)
        self.filled = without_object(images, near).permute(0, 2, 3, 1).reshape(-1, 3).to(device)
        self.near = near.flatten().to(device).float()
        near = near.flatten().nonzero()[:, 0].to(device)
        self.object = near if len(near) else torch.arange(len(self.grid), device=device)
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
        inside = 0.5 + self.settings.jitter * (torch.rand(len(pixels), 2, generator=generator, device=device) - 0.5)
        rays = self.grid.rays(self.cameras, pixels, inside)
        wanted = self.settings
        closed = (step < wanted.closed_until * wanted.optimiser.iterations).float()
        march = self.field.march(
            rays, wanted.sampling.fine_samples, generator, closed, 1 - (REST + (1 - REST) * closed) * self.near[pixels]
        )
        loss = (march.colours - self.colours[pixels]).square().mean()
        hidden = march.behind - self.filled[pixels]
        loss = loss + wanted.behind_weight * closed * (hidden.square().mean(-1) * self.near[pixels]).mean()
        loss = loss + wanted.distortion_weight * distortion(march.weights, march.samples).mean()
        if isinstance(self.field.trunk, BoundedTrunk):
            near = march.volume[: self.shares[0]]
            outside = self.field.trunk.outside(march.samples.positions[: self.shares[0]])
            opacity = near.sum(-1)
            loss = loss + wanted.outside_weight * (near * outside).sum(-1).mean()
            loss = loss + wanted.opacity_weight * (opacity * (1 - opacity)).mean()
        if self.depth is not None:
            loss = loss + wanted.depth_weight * depth_loss(march.weights, march.samples, self.depth[pixels])
        return loss


def without_object(images: Tensor, hidden: Tensor) -> Tensor:
    """images (N, 3, H, W) in [0, 1] with the pixels `hidden` (N, H, W) filled from their rim (Telea 2004): a guess, to start from."""
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
    before = weights.cumsum(-1) - weights
    moment = (weights * middle).cumsum(-1) - weights * middle
    apart = 2 * (weights * (middle * before - moment)).sum(-1)
    return apart + (weights.square() * width).sum(-1) / 3


def depth_loss(weights: Tensor, samples: Samples, depth: Tensor) -> Tensor:
    """Mean of |expected depth - depth| in radii, over the rays whose depth (R,) is known; 0 where none is."""
    known = torch.isfinite(depth)
    error = (expected_depth(weights, samples) - torch.where(known, depth, 0.0)).abs() / samples.radius
    return (error * known).sum() / known.sum().clamp_min(1)
