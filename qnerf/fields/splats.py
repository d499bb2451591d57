"""3-D Gaussians (Kerbl et al., "3D Gaussian splatting", SIGGRAPH 2023) on the surface that a radiance field shows.

Positions, sizes and turns are the surface's and stay; colours and opacities are fitted to the views, for which it is known once and
for all which pixels each Gaussian takes part in. What lies behind the volume is Gaussians far off. The renderer is plain: it is
what the fit rests on, and what tells how good the splat is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qnerf.fields.surface import CELL, Look, joined, normals, pixel_spacing, solid
from qnerf.scenes.cameras import Cameras

OPACITY = 0.9  # of every Gaussian
WIDTH = 0.6  # standard deviation, times the distance of neighbours: less leaves gaps, more blurs
THICKNESS = 0.1  # of a Gaussian across the surface, times its width: round ones would stand out beside every outline
INSET = 1.2  # how deep below the surface a Gaussian lies, times the distance of neighbours: outlines are drawn a pixel wider
FAR = 300.0  # radii at which what no density stops is put, so far that all cameras see it in one direction
COARSE = 4.0  # pixels between Gaussians in directions in which no camera looks
BEHIND = 1.1  # times as far as the others are those that fill the sky, which they are not to hide
LOW_PASS = 0.3  # pixels², added to every projected covariance, as published
FAINT = 1 / 255  # opacity below which a Gaussian is not drawn, as published
WINDOW = 6  # pixels at most from its middle to which a Gaussian is drawn here
ROUNDS = 16  # through all views, one a step
OPACITY_RATE, COLOUR_RATE = 0.1, 0.02  # Adam's, of logits and of colours; both fall to a tenth


@dataclass(frozen=True)
class Splats:
    """P Gaussians. points: (P, 3), world units. colours: (P, 3). opacity: (P,) in (0, 1). scales: (P, 3) standard deviations, world
    units. rotations: (P, 4) unit quaternions (w, x, y, z) from the Gaussian's axes to the world's."""

    points: Tensor
    colours: Tensor
    opacity: Tensor
    scales: Tensor
    rotations: Tensor


@dataclass(frozen=True)
class Drawn:
    """The pixels of one view of H x W that Gaussians take part in, pixel by pixel, nearest first. pixel, splat: (K,)
    indices. falloff: (K,) exp(-½ dᵀ Σ'⁻¹ d). first: (K,) the index of the first entry of the same pixel."""

    pixel: Tensor
    splat: Tensor
    falloff: Tensor
    first: Tensor
    height: int
    width: int

    def weights(self, opacity: Tensor) -> Tensor:
        """(K,) α_i Π_{j before i} (1 - α_j), α = opacity · falloff, 0 where that is faint; float64."""
        alpha = (opacity.double()[self.splat] * self.falloff).clamp_max(0.99)
        alpha = torch.where(alpha < FAINT, torch.zeros_like(alpha), alpha)
        passed = torch.log1p(-alpha)
        before = passed.cumsum(dim=0) - passed
        return alpha * (before - before[self.first]).exp()

    def image(self, opacity: Tensor, colours: Tensor) -> Tensor:
        """(3, H, W) on black."""
        empty = torch.zeros(self.height * self.width, 3, dtype=torch.float64)
        shown = empty.index_add(0, self.pixel, self.weights(opacity)[:, None] * colours.double()[self.splat])
        return shown.view(self.height, self.width, 3).permute(2, 0, 1)


def surface_splats(seen: Look, cameras: Cameras, radius: float) -> Splats:
    """A flat Gaussian for every cell of the solid surface, and a round one for every direction in which a camera sees
    none. radius: of the region of interest, world units."""
    met = solid(seen, cameras)
    spacing = pixel_spacing(seen.depth, cameras)
    side = CELL * float(spacing[met].median()) if met.any() else 1.0
    near, values, apart = joined(seen.points[met], torch.cat([seen.colours, normals(seen, cameras)], dim=-1)[met], side)
    away = torch.nn.functional.normalize(seen.points - cameras.positions[:, None, None], dim=-1)[~met]
    pixel = FAR * radius / float(cameras.focal.mean())
    behind, behind_colours, behind_apart = joined(
        cameras.positions.mean(dim=0) + FAR * radius * away, seen.colours[~met], CELL * pixel
    )
    outwards = torch.nn.functional.normalize(values[:, 3:], dim=-1)
    near = near - INSET * apart[:, None] * outwards
    points, colours = torch.cat([near, behind]), torch.cat([values[:, :3], behind_colours])
    scales = WIDTH * torch.cat([apart, behind_apart])[:, None].repeat(1, 3)
    scales[: len(near), 2] *= THICKNESS
    rotations = torch.cat([towards(values[:, 3:]), towards(behind.new_tensor([[0.0, 0.0, 1.0]]).expand(len(behind), 3))])
    return Splats(points, colours, torch.full_like(points[:, 0], OPACITY), scales, rotations)


@torch.no_grad()
def fill_sky(splats: Splats, cameras: Cameras, radius: float, sky: Callable[[Tensor], Tensor]) -> Splats:
    """With Gaussians in the directions in which no camera looks, so that views between the cameras have no holes. This comes after
    the fit, which would make noise of what no view shows.

    radius: as of `surface_splats`. sky: unit directions (P, 3) to the colours (P, 3) of what no density stops.
    """
    middle, step = cameras.positions.mean(dim=0), COARSE / float(cameras.focal.mean())
    away = splats.points - middle
    far = away.norm(dim=-1)
    seen = torch.nn.functional.normalize(away, dim=-1)[far > FAR * radius / 2]
    unseen = all_directions(round(4 * math.pi / step**2)).to(away)
    unseen = unseen[_free(unseen, seen, step)]
    distance = BEHIND * FAR * radius
    round_one = unseen.new_tensor([1.0, 0.0, 0.0, 0.0]).expand(len(unseen), 4)
    return Splats(
        torch.cat([splats.points, middle + distance * unseen]),
        torch.cat([splats.colours, sky(unseen).to(splats.colours)]),
        torch.cat([splats.opacity, torch.full_like(unseen[:, 0], OPACITY)]),
        torch.cat([splats.scales, torch.full_like(unseen, WIDTH * distance * step)]),
        torch.cat([splats.rotations, round_one]),
    )


def all_directions(count: int) -> Tensor:
    """Unit directions (count, 3), about evenly spread: Fibonacci's spiral from pole to pole."""
    index = torch.arange(count, dtype=torch.float64)
    height, turn = 1 - (2 * index + 1) / count, index * math.pi * (3 - math.sqrt(5))
    flat = (1 - height**2).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1)


def _free(points: Tensor, taken: Tensor, side: float) -> Tensor:
    """Which points (P, 3) lie in cells of this side in which none of the others (Q, 3) do, (P,) bool."""
    both = torch.cat([points, taken])
    cells = ((both - both.amin(dim=0)) / side).long()
    wide = cells.amax(dim=0) + 1
    keys = (cells[:, 0] * wide[1] + cells[:, 1]) * wide[2] + cells[:, 2]
    return ~torch.isin(keys[: len(points)], keys[len(points) :])


def towards(directions: Tensor) -> Tensor:
    """Unit quaternions (P, 4) that turn the z axis into the line of directions (P, 3): (1 + d_z, -d_y, d_x, 0), d_z ≥ 0."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    unit = torch.where(unit[:, 2:] < 0, -unit, unit)
    x, y, z = unit.unbind(dim=-1)
    return torch.nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros_like(x)], dim=-1), dim=-1)


def fit(splats: Splats, images: Tensor, cameras: Cameras) -> Splats:
    """The splats with colours and opacities that show images (N, 3, H, W) well: Adam on the mean squared error, a view a step."""
    views = [drawn(splats, cameras[[view]]) for view in range(len(cameras))]
    logits, colours = torch.logit(splats.opacity.double()).requires_grad_(), splats.colours.double().requires_grad_()
    optimiser = torch.optim.Adam([{"params": [logits], "lr": OPACITY_RATE}, {"params": [colours], "lr": COLOUR_RATE}], eps=1e-15)
    fall = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.1 ** (1 / (ROUNDS * len(views))))
    for step in range(ROUNDS * len(views)):
        view = step % len(views)
        optimiser.zero_grad()
        error = (views[view].image(torch.sigmoid(logits), colours) - images[view].double()).square().mean()
        error.backward()
        optimiser.step()
        fall.step()
    opacity = torch.sigmoid(logits.detach()).clamp(FAINT, 0.99)
    return replace(splats, colours=colours.detach().clamp(0, 1).to(splats.colours), opacity=opacity.to(splats.opacity))


def render_splats(splats: Splats, cameras: Cameras) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] on black."""
    views = (drawn(splats, cameras[[view]]) for view in range(len(cameras)))
    return torch.stack([view.image(splats.opacity, splats.colours) for view in views]).clamp(0, 1).float()


def drawn(splats: Splats, camera: Cameras) -> Drawn:
    """Where each Gaussian falls in one camera's view, with Σ' = J W Σ Wᵀ Jᵀ + `LOW_PASS` (Zwicker et al. 2001)."""
    pixels, depth = camera.project(splats.points)
    pixels, depth = pixels[0].double(), depth[0].double()
    index = (depth > 1e-3).nonzero()[:, 0]
    inverse, reach = _projected(splats, camera, depth, index)
    offsets = torch.arange(-WINDOW, WINDOW + 1, dtype=torch.float64)
    square = torch.cartesian_prod(offsets, offsets)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for size in range(1, WINDOW + 1):
        part = (reach.ceil().clamp(1, WINDOW) == size).nonzero()[:, 0]
        steps = square[square.abs().amax(dim=1) <= size]
        for chunk in part.split(max(1, 2_000_000 // len(steps))):
            number = index[chunk]
            place = pixels[number].floor()[:, None] + steps
            away = place + 0.5 - pixels[number][:, None]
            falloff = (-0.5 * torch.einsum("pki,pij,pkj->pk", away, inverse[chunk], away)).exp()
            x, y = place.unbind(dim=-1)
            inside = (falloff >= FAINT) & (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
            found.append(((y * camera.width + x).long()[inside], number[:, None].expand(inside.shape)[inside], falloff[inside]))
    pixel, splat, falloff = (torch.cat(parts) for parts in zip(*found, strict=True))
    rank = depth.argsort(stable=True).argsort(stable=True)
    order = (pixel * len(depth) + rank[splat]).argsort()
    pixel, splat, falloff = pixel[order], splat[order], falloff[order]
    return Drawn(pixel, splat, falloff, torch.searchsorted(pixel, pixel), camera.height, camera.width)


def _projected(splats: Splats, camera: Cameras, depth: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse (P, 2, 2) of the projected covariances of some Gaussians, and how far, pixels, they are drawn (P,)."""
    turn = camera.camera_to_world[0, :3, :3].double() * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)  # OpenCV's axes
    local = (splats.points[index].double() - camera.positions[0].double()) @ turn
    z, focal = depth[index], camera.focal[0].double()
    zero = torch.zeros_like(z)
    rows = [torch.stack([focal[0] / z, zero, -focal[0] * local[:, 0] / z**2], dim=-1)]
    rows.append(torch.stack([zero, focal[1] / z, -focal[1] * local[:, 1] / z**2], dim=-1))
    axes = torch.stack(rows, dim=1) @ turn.T @ rotation_matrices(splats.rotations[index].double())
    shaped = axes * splats.scales[index].double()[:, None]
    covariance = shaped @ shaped.transpose(1, 2) + LOW_PASS * torch.eye(2, dtype=torch.float64)
    widest = torch.linalg.eigvalsh(covariance)[:, 1]
    return torch.linalg.inv(covariance), (-2 * math.log(FAINT) * widest).sqrt()


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """(P, 4) unit quaternions (w, x, y, z) to (P, 3, 3)."""
    w, x, y, z = quaternions.unbind(dim=-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
