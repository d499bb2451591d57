"""The plane that the object stands on, found in the source field: it is never dragged along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.fields.posing.flesh import Radiant, opacity_at
from qnerf.fields.posing.least_squares import least_squares

COLUMNS = 32  # upright lines on a side of the grid that are looked along
# how far over and under the lowest joint the ground is looked for, as shares of the extent
ABOVE, BELOW = 0.05, 0.2
FINE = 0.004  # step down the lines, likewise: a field's ground may be a thin sheet
LEVEL = 0.36  # tangent of the most that the plane may lean (20°)
AGREE = 0.01  # how near a line's end must be to the plane, as a share of the extent
ENOUGH = 0.3  # share of the lines that must end on the plane


@dataclass(frozen=True)
class Ground:
    """normal: (3,) upwards, unit length. point: (3,) on the plane."""

    normal: Tensor
    point: Tensor

    def height(self, points: Tensor) -> Tensor:
        """Of points (..., 3) over the plane, (...)."""
        return (points - self.point) @ self.normal


def find_ground(field: Radiant, low: Tensor, high: Tensor, feet: float, extent: float) -> Ground | None:
    """The plane through the first dense matter below most of the box from low to high (3,); None
    where there is none.

    feet: z of the lowest joint. The world's z axis points up.
    """
    axes = [torch.linspace(float(low[k]), float(high[k]), COLUMNS, device=low.device) for k in (0, 1)]
    x, y = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    z = torch.arange(ABOVE, -BELOW, -FINE, device=low.device) * extent + feet
    lines = torch.stack([x[:, None].expand(-1, len(z)), y[:, None].expand(-1, len(z)), z.expand(len(x), -1)], dim=-1)
    dense = opacity_at(field, lines, extent) > 0.5
    # Legs begin above the search: what is dense at its very top is no ground.
    ends = dense.any(-1) & ~dense[:, 0]
    points = lines[torch.arange(len(x), device=low.device), dense.float().argmax(-1)][ends]
    if len(points) < ENOUGH * len(x):
        return None
    inner = (points[:, 2] - points[:, 2].median()).abs() < 4 * AGREE * extent
    slope, middle = torch.zeros(2, device=low.device), points.quantile(0.5, dim=0)
    for _ in range(4):
        if inner.sum() < ENOUGH * len(x):
            return None
        middle = torch.cat([points[inner, :2].mean(0), points[inner, 2].median()[None]])
        near = points[inner] - middle
        slope = least_squares(near[:, :2], near[:, 2:])[:, 0].clamp(-LEVEL, LEVEL)
        inner = (points[:, 2] - middle[2] - (points[:, :2] - middle[:2]) @ slope).abs() < AGREE * extent
    normal = torch.cat([-slope, torch.ones_like(slope[:1])])
    return Ground(normal / normal.norm(), middle)
