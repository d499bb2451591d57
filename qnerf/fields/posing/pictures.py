"""What the source's pictures show of points of the source: which views see them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.labels import smoothstep
from qnerf.scenes.cameras import Cameras


def seen_in(places: Tensor, cameras: Cameras, depth: Tensor, tolerance: float) -> Tensor:
    """How far source points (R, 3) are in sight of each of N cameras, (N, R) in [0, 1].

    depth: (N, H, W) distance of the surface along each pixel's ray. A point is in sight where the surface of a pixel beside its own
    is no nearer than the point, less a tolerance (world units); it passes out of sight, smoothly, over another tolerance.
    """
    surface = F.max_pool2d(depth[:, None], 3, 1, 1)
    grid, inside = _grid(places, cameras)
    found = F.grid_sample(surface, grid, mode="nearest", align_corners=False)[:, 0, :, 0]
    away = (places - cameras.positions[:, None]).norm(dim=-1)
    return inside * (1 - smoothstep((away - found) / tolerance, 1.0, 2.0))


def _grid(places: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Where points (R, 3) are in N pictures, as `grid_sample` wants it (N, R, 1, 2), and whether they are in them, (N, R) bool."""
    xy, z_depth = cameras.project(places)
    place = xy / xy.new_tensor([cameras.width, cameras.height]) * 2 - 1
    return place[:, :, None], (place.abs() < 1).all(-1) & (z_depth > 1e-3)
