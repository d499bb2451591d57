"""The source field's density on a grid round the object: where flesh is, and how thick it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.parts import Part
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Rays

CHUNK = 65536
THICKNESS = 0.02  # of the layer, as a share of the extent, whose opacity says how dense a place is
THICKEST = 0.15  # radius of flesh that is looked for, likewise
GOLDEN = 2.39996  # radians


class Radiant(Protocol):
    """What can be posed: `source_field.SourceField`, and any field of these methods, described there."""

    space: Space

    def radiance(self, points: Tensor) -> tuple[Tensor, Tensor]: ...

    def surroundings(self, directions: Tensor) -> Tensor: ...

    def edges(self, rays: Rays, count: int) -> Tensor: ...


@dataclass(frozen=True)
class Flesh:
    """low: (3,) the grid's corner, step: the side of its cells, world units. opacity: (X, Y, Z) in [0, 1], as `opacity_at`."""

    low: Tensor
    step: float
    opacity: Tensor

    def centres(self) -> Tensor:
        """(X, Y, Z, 3) world positions of the cells' middles."""
        axes = [torch.arange(n, device=self.low.device) + 0.5 for n in self.opacity.shape]
        return self.low + self.step * torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)

    def lookup(self, values: Tensor, points: Tensor) -> Tensor:
        """Values (C, X, Y, Z) of the cells, interpolated at points (P, 3): (P, C); 0 outside."""
        size = torch.tensor(self.opacity.shape, device=points.device)
        place = ((points - self.low) / (self.step * size) * 2 - 1).flip(-1)
        return F.grid_sample(values[None], place[None, None, None], align_corners=False)[0, :, 0, 0].T


@torch.no_grad()
def opacity_at(field: Radiant, points: Tensor, extent: float) -> Tensor:
    """Of a layer `THICKNESS` thick at points (..., 3): (...) in [0, 1]."""
    flat = points.reshape(-1, 3)
    density = torch.cat([field.radiance(part)[0] for part in flat.split(CHUNK)])
    return (1 - (-density * THICKNESS * extent / field.space.radius).exp()).view(points.shape[:-1])


def flesh_grid(field: Radiant, low: Tensor, high: Tensor, voxels: int, extent: float) -> Flesh:
    """The grid over the box from low to high (3,), `voxels` cells along its longest side."""
    step = float((high - low).max()) / voxels
    shape = [int(n) for n in ((high - low) / step).ceil().clamp_min(2)]
    empty = Flesh(low, step, torch.zeros(shape, device=low.device))
    return Flesh(low, step, opacity_at(field, empty.centres(), extent))


@torch.no_grad()
def flesh_radius(field: Radiant, part: Part, extent: float) -> float:
    """How thick the flesh round a bone is, world units: the median over directions of where density first ends.

    A bone along which there is no flesh has the least radius, half of `THICKNESS`. What is at a single joint is looked at in all
    directions from there.
    """
    least = THICKNESS / 2 * extent
    start, axis = part.starts[0], part.ends[0] - part.starts[0]
    length, single = float(axis.norm()), len(part.joints) == 1
    if length < 1e-6 and not single:
        return least
    if single:
        height = ((torch.arange(24, device=axis.device) + 0.5) / 12 - 1)[
            :, None
        ]  # evenly over a sphere, each circle a golden angle on
        flat = (1 - height.square()).sqrt()
        angle = GOLDEN * torch.arange(24, device=axis.device)[:, None]
        spokes = torch.cat([flat * angle.cos(), flat * angle.sin(), height], dim=1)
    else:
        turn = torch.linspace(0, 2 * torch.pi, 25, device=axis.device)[:-1]
        across = torch.linalg.svd(axis[None] / length)[2][1:]
        spokes = turn.cos()[:, None] * across[0] + turn.sin()[:, None] * across[1]
    out = torch.arange(0, THICKEST + THICKNESS, THICKNESS / 4, device=axis.device) * extent
    along = torch.linspace(0.2, 0.8, 1 if single else 7, device=axis.device)
    points = start + along[:, None, None, None] * axis + spokes[None, :, None] * out[None, None, :, None]
    opacity = opacity_at(field, points, extent).flatten(0, 1)
    dense = opacity > 0.4 * opacity.amax(-1, keepdim=True).clamp_min(0.1)
    begun = dense.cumsum(-1) > 0
    gap = F.max_pool1d(dense.float()[:, None], 4, 1)[:, 0] == 0  # empty for a layer's thickness
    ended = gap & begun[:, : gap.shape[1]]
    first = torch.where(ended.any(-1), out[ended.float().argmax(-1)], torch.nan)
    known = first[first.isfinite()]
    if not begun.any():
        return least
    # Spokes that meet the trunk or another limb have no end, and those of the near side are short: below the middle is safe.
    return max(least, float(known.quantile(0.4))) if len(known) >= 0.2 * len(first) else THICKEST / 2 * extent
