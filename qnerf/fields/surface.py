"""The surface that a radiance field shows its cameras: depth, opacity, and points with colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.fields.rendering import Samples
from qnerf.fields.source_field import SourceField
from qnerf.fields.token_rays import RAY_CHUNK, TokenGrid
from qnerf.scenes.cameras import Cameras

OPAQUE = 0.5  # opacity from which on a ray meets a surface
AGREE = 0.03  # how much nearer than its own surface a camera may have another's point, as a share
SMOOTH = 3  # pixels over which normals are averaged
CELL = 1.0  # side of the cells whose points are joined, times the median distance of neighbouring pixels on the surface


@dataclass(frozen=True)
class Look:
    """What N cameras of H x W pixels see. colours: (N, H, W, 3) in [0, 1]. depth: (N, H, W), distance along the ray at
    which half of its opacity is reached, world units. opacity: (N, H, W), of the volume and the ground. points:
    (N, H, W, 3), at that depth."""

    colours: Tensor
    depth: Tensor
    opacity: Tensor
    points: Tensor

    @property
    def met(self) -> Tensor:
        """(N, H, W) bool, where a ray meets a surface."""
        return self.opacity >= OPAQUE


@dataclass(frozen=True)
class Cloud:
    """points: (P, 3). colours: (P, 3) in [0, 1]. spacing: (P,), the distance of a point's neighbours. World units."""

    points: Tensor
    colours: Tensor
    spacing: Tensor


@torch.no_grad()
def look(field: SourceField, cameras: Cameras) -> Look:
    """Render a field with its surface."""
    grid = TokenGrid(len(cameras), cameras.height, cameras.width)
    colours, depth, opacity, points = [], [], [], []
    for pixels in torch.arange(len(grid), device=cameras.focal.device).split(RAY_CHUNK):
        rays = grid.rays(cameras, pixels, torch.full((len(pixels), 2), 0.5, device=pixels.device))
        march = field.march(rays, field.settings.sampling.render_samples, None)
        colours.append(march.colours)
        depth.append(median_depth(march.weights, march.samples))
        opacity.append(march.weights.sum(-1))
        points.append(rays.origins + depth[-1][:, None] * rays.directions)
    size = (len(cameras), cameras.height, cameras.width)
    return Look(
        torch.cat(colours).view(*size, 3).clamp(0, 1),
        torch.cat(depth).view(size),
        torch.cat(opacity).view(size),
        torch.cat(points).view(*size, 3),
    )


def median_depth(weights: Tensor, samples: Samples) -> Tensor:
    """The distance (R,) along rays at which half of their weights (R, S) lie behind; the last where there is no weight."""
    reached = weights.cumsum(dim=-1)
    half = reached[:, -1:] / 2
    index = torch.searchsorted(reached.contiguous(), half.contiguous()).clamp_max(weights.shape[1] - 1)
    before = torch.where(index > 0, reached.gather(1, (index - 1).clamp_min(0)), torch.zeros_like(half))
    share = ((half - before) / weights.gather(1, index).clamp_min(1e-12)).clamp(0, 1)
    start, end = samples.starts.gather(1, index), samples.ends.gather(1, index)
    return torch.where(reached[:, -1:] > 0, start + share * (end - start), samples.ends[:, -1:])[:, 0]


def solid(seen: Look, cameras: Cameras) -> Tensor:
    """(N, H, W) bool: points of the surface through which no other camera looks. Fog is looked through, and what a
    field makes of the background, which lies before the cameras on the other side."""
    nearest = -torch.nn.functional.max_pool2d(-seen.depth[:, None], 3, 1, 1)[:, 0]  # an outline may lie a pixel aside
    found = seen.met.clone()
    for view in range(len(cameras)):
        points = seen.points[view].flatten(0, 1)
        for other in (other for other in range(len(cameras)) if other != view):
            pixels, ahead = cameras[[other]].project(points)
            column, row = pixels[0].floor().long().unbind(dim=-1)
            inside = (ahead[0] > 0) & (column >= 0) & (row >= 0) & (column < cameras.width) & (row < cameras.height)
            there = nearest[other, row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)]
            expected = (points - cameras.positions[other]).norm(dim=-1)
            found[view] &= ~(inside & (expected < (1 - AGREE) * there)).view_as(found[view])
    return found


def pixel_spacing(depth: Tensor, cameras: Cameras) -> Tensor:
    """The distance (N, H, W) between neighbouring pixels' points at a depth (N, H, W)."""
    return depth / cameras.focal.mean(dim=1)[:, None, None]


def cloud_of(seen: Look, cameras: Cameras, centre: Tensor, reach: float) -> Cloud:
    """The solid points no farther than `reach` from the centre (3,), joined by cells."""
    kept = solid(seen, cameras) & ((seen.points - centre).norm(dim=-1) <= reach)
    spacing = pixel_spacing(seen.depth, cameras)[kept]
    return Cloud(*joined(seen.points[kept], seen.colours[kept], CELL * float(spacing.median()) if len(spacing) else 1.0))


def normals(seen: Look, cameras: Cameras) -> Tensor:
    """(N, H, W, 3) unit normals of the surface, of the neighbours on the side of a pixel where the depth differs less,
    smoothed over `SMOOTH` pixels, since a field's depth is uneven."""
    steps = []
    for axis in (1, 2):
        ahead, back = seen.points.roll(-1, axis) - seen.points, seen.points - seen.points.roll(1, axis)
        wide = [(seen.depth.roll(shift, axis) - seen.depth).abs() for shift in (-1, 1)]
        inner = torch.arange(seen.depth.shape[axis], device=seen.depth.device)
        inner = inner.view(-1, 1) if axis == 1 else inner
        last, first = inner == seen.depth.shape[axis] - 1, inner == 0
        steps.append(torch.where((((wide[0] <= wide[1]) | first) & ~last)[..., None], ahead, back))
    across = torch.nn.functional.normalize(torch.linalg.cross(*steps), dim=-1)
    towards = cameras.positions[:, None, None] - seen.points
    across = torch.where((across * towards).sum(dim=-1, keepdim=True) < 0, -across, across) * seen.met[..., None]
    smooth = torch.nn.functional.avg_pool2d(across.permute(0, 3, 1, 2), SMOOTH, 1, SMOOTH // 2).permute(0, 2, 3, 1)
    return torch.nn.functional.normalize(smooth, dim=-1)


def joined(points: Tensor, values: Tensor, cell: float) -> tuple[Tensor, Tensor, Tensor]:
    """One point for all of a cell: the means of their positions (P, 3) and values (P, C), and the mean distance of the points in
    cells beside it, at most three of the nearest; the cell's side where there is none."""
    if not len(points):
        return points, values, points.new_zeros(0)
    low = points.amin(dim=0)
    cells = ((points - low) / cell).long() + 1
    side = cells.amax(dim=0) + 2
    keys, index = torch.unique((cells[:, 0] * side[1] + cells[:, 1]) * side[2] + cells[:, 2], return_inverse=True)
    count = torch.zeros(len(keys), device=points.device).index_add_(0, index, torch.ones_like(points[:, 0]))

    def mean(each: Tensor) -> Tensor:
        return torch.zeros(len(keys), each.shape[1], device=each.device).index_add_(0, index, each) / count[:, None]

    middle = mean(points - low) + low
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, device=points.device)] * 3)
    steps = steps[steps.abs().sum(dim=1) > 0]
    distances = []
    for step in (steps[:, 0] * side[1] + steps[:, 1]) * side[2] + steps[:, 2]:
        place = torch.searchsorted(keys, keys + step).clamp_max(len(keys) - 1)
        there = keys[place] == keys + step
        distances.append(torch.where(there, (middle - middle[place]).norm(dim=-1), torch.inf))
    nearest = torch.stack(distances).topk(3, dim=0, largest=False).values
    known = torch.isfinite(nearest)
    spacing = torch.where(known, nearest, 0.0).sum(dim=0) / known.sum(dim=0).clamp_min(1)
    spacing = torch.where(known.any(dim=0), spacing, cell).clamp_min(0.1 * cell)
    return middle, mean(values), spacing
