"""The radiance field of the source views: what posing carries into the edited scene (docs/method.md §7.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from qnerf.errors import UserError
from qnerf.fields.bounded import BoundedTrunk
from qnerf.fields.ground_plane import find_plane
from qnerf.fields.rendering import Samples, composite, composite_weights, expected_depth, sample_rays, samples_between
from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.source_loss import SourceLoss
from qnerf.fields.space import Space
from qnerf.fields.surroundings import Ground, Sky
from qnerf.fields.token_rays import render_pixels
from qnerf.fields.training import OnStep, train
from qnerf.fields.trunk import Trunk, derive_seed, linear
from qnerf.scenes.bounds import ball_round, proxy_bounds
from qnerf.scenes.cameras import Cameras, Rays
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.scene import Proxy

TINY = 1e-12
RIM = 4
"""Pixels round the proxy's bounds that may show the object too."""


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
    """Density and colour of every point, without view dependence: a volume, the plane of a floor or wall, and colours at infinity.

    proxy: its source bounds are where the volume starts dense; None: in a ball round the focus. plane: (4,), as
    `find_plane` finds it; None: none. centre, reach: (3,) and radius of a ball round the bounds, world units; None without a proxy.
    """

    centre: Tensor | None

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
        centre, self.reach = ball_round(solids) if solids else (None, 0.0)
        # On the device from the start: a recorded step must bring nothing there.
        self.register_buffer("centre", None if centre is None else torch.from_numpy(centre).float().to(device), persistent=False)
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

        A ray begins before the ball round the proxy's bounds, and one that meets the ground has an interval in it.
        """
        own = count if self.ground is None else count - 2
        samples = sample_rays(rays, self.space, self.trunk.proposal, self.settings.sampling, own, generator, self._latest(rays))
        edges = torch.cat([samples.starts, samples.ends[:, -1:]], dim=1)
        if self.ground is None:
            return edges
        crossing, met = self.ground.crossing(rays)
        return torch.cat([edges, torch.where(met[:, None], crossing, edges[:, -1:])], dim=1).sort(dim=1).values

    def _latest(self, rays: Rays) -> Tensor | None:
        """(R, 1) distances of the ball round the bounds: an object may be nearer to the camera than most of the scene is."""
        if self.centre is None:
            return None
        away = (rays.origins - self.centre).norm(dim=-1, keepdim=True)
        return (away - self.reach).clamp_min(0.1 * self.space.radius)

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

        def look(rays: Rays) -> tuple[Tensor, Tensor]:
            march = self.march(rays, self.settings.sampling.render_samples, None)
            return march.colours, expected_depth(march.weights, march.samples)

        return render_pixels(cameras, where, look)


def _scaled(value: Tensor, learning: Tensor | None) -> Tensor:
    """value (R, ...), its gradients times learning (R,)."""
    if learning is None:
        return value
    return value.detach() + (value - value.detach()) * learning.view(-1, *[1] * (value.dim() - 1))


def restored(
    state: dict[str, Tensor], settings: SourceFieldSettings, space: Space, device: torch.device, proxy: Proxy | None
) -> SourceField:
    """The field of these settings, space and proxy whose `state_dict` is `state`."""
    field = SourceField(settings, space, device, 0, proxy, state.get("ground.plane"))
    field.load_state_dict(state)
    return field.requires_grad_(False)


def train_source_field(
    images: Tensor,
    cameras: Cameras,
    space: Space,
    settings: SourceFieldSettings,
    seed: int,
    proxy: Proxy | None = None,
    depth: Tensor | None = None,
    valid: Tensor | None = None,
    on_step: OnStep | None = None,
) -> SourceField:
    """Fit a field to images (N, 3, H, W) in [0, 1] of `cameras`, most of its rays through the proxy's source bounds.

    depth: (N, H, W) distance along the ray, world units, infinite where it is not known. valid: (N, H, W) bool, the pixels that
    count; None: all. The field is where the cameras are.
    On the CPU the same arguments give bit-equal fields. Raises UserError for shapes that do not fit.
    """
    size = (len(cameras), cameras.height, cameras.width)
    problems = []
    if tuple(images.shape) != (size[0], 3, *size[1:]):
        problems.append(f"the images have shape {tuple(images.shape)}, but the cameras expect {(size[0], 3, *size[1:])}")
    if depth is not None and tuple(depth.shape) != size:
        problems.append(f"the depth has shape {tuple(depth.shape)}, but the cameras expect {size}")
    if valid is not None and (tuple(valid.shape) != size or not valid.any()):
        problems.append(
            f"valid has shape {tuple(valid.shape)} and {int(valid.sum())} pixels, but the cameras expect some of {size}"
        )
    if problems:
        raise UserError("; ".join(problems) + ": resize what does not fit")
    near = torch.zeros(size, dtype=torch.bool, device=images.device)
    if proxy is not None:
        near = torch.isfinite(bounds_distance(proxy, "source", cameras, size[1:])).to(images.device)
        near = max_pool2d(near[:, None].float(), 2 * RIM + 1, 1, RIM)[:, 0] > 0
    left_out = torch.zeros_like(near) if valid is None else ~valid.to(near.device)
    hidden = near | left_out
    plane = find_plane(images, cameras.to(images.device), space, hidden) if settings.ground else None
    field = SourceField(settings, space, cameras.focal.device, seed, proxy, plane)
    seen = images.permute(0, 2, 3, 1)[~(left_out if hidden.all() else hidden)]
    for part in (field.sky, field.ground):
        if part is not None:
            part.picture.start_from(seen.mean(dim=0).to(cameras.focal.device))
    train(field, field.trunk, SourceLoss(field, images, cameras, near, depth, left_out), settings.optimiser, seed, on_step)
    return field.requires_grad_(False)
