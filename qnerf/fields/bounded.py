"""A trunk whose initial density is the proxy's: high within its bounds, next to nothing outside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.space import Space
from qnerf.fields.trunk import Trunk
from qnerf.scenes.solids import Box, Capsule

CELLS = 96
"""Per axis, of the grid from which distances are interpolated."""
SLACK = 0.1
"""Radii outside the solids that still count as inside: what hangs on an object is seldom bounded."""
SOLID = 5.0
"""Largest logarithm of the density: opaque over a fiftieth of the radius. Where density may rise further, its interpolation between
the cells inside and outside a surface is opaque well before the surface: objects grow."""
CHUNK = 65536


class BoundedTrunk(Trunk):
    """As `Trunk`, but the soft ball round the focus is a soft rim round solids, from which on density is as in the middle."""

    distance: Tensor

    def __init__(
        self, settings: SourceFieldSettings, space: Space, solids: Sequence[Capsule | Box], device: torch.device, seed: int
    ) -> None:
        super().__init__(settings, space, device, seed)
        axis = torch.linspace(0, 1, CELLS)
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        points = Space.from_cube(torch.stack([x, y, z], dim=-1).view(-1, 3)) * space.radius + space.focus.cpu()
        found = torch.cat([distance_to(part, solids) for part in points.split(CHUNK)]) / space.radius
        self.register_buffer("distance", found.clamp_min(0).view(1, 1, CELLS, CELLS, CELLS).to(device))

    def outside(self, positions: Tensor) -> Tensor:
        """Whether positions (..., 3) in [0, 1] lie outside the solids, (...) bool; a little is still inside."""
        return self._distance(positions) > SLACK

    def _limited(self, log_density: Tensor) -> Tensor:
        return SOLID - torch.nn.functional.softplus(SOLID - log_density)

    def _squared_distance(self, positions: Tensor) -> Tensor:
        return self._distance(positions).square()

    def _distance(self, positions: Tensor) -> Tensor:
        """Of positions (..., 3) in [0, 1] from the solids, (...), radii; 0 inside."""
        places = (positions.detach() * 2 - 1).view(1, -1, 1, 1, 3)
        return torch.nn.functional.grid_sample(self.distance, places, align_corners=True).view(positions.shape[:-1])


def distance_to(points: Tensor, solids: Sequence[Capsule | Box]) -> Tensor:
    """Signed distance of points (P, 3) to the nearest of capsules and boxes, (P,) in the points' units; negative inside."""
    return torch.stack([_distance(points, solid) for solid in solids]).amin(dim=0)


def _distance(points: Tensor, solid: Capsule | Box) -> Tensor:
    if isinstance(solid, Capsule):
        start, end = (torch.from_numpy(x).to(points) for x in (solid.start, solid.end))
        return segment_distance(points, start, end) - solid.radius
    centre, half, turn = (torch.from_numpy(x).to(points) for x in (solid.centre, solid.half, solid.turn))
    beyond = ((points - centre) @ turn).abs() - half
    return beyond.clamp_min(0).norm(dim=-1) + beyond.amax(dim=-1).clamp_max(0)


def segment_distance(points: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Of points (P, 3) from the segment between start and end, (3,) each: (P,)."""
    axis = end - start
    along = ((points - start) @ axis / (axis @ axis).clamp_min(1e-12)).clamp(0, 1)
    return (points - start - along[:, None] * axis).norm(dim=-1)
