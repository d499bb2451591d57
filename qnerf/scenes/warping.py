"""What one camera sees of a surface, looked up where others see it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.cameras import Cameras


def surface_points(depth: Tensor, cameras: Cameras) -> Tensor:
    """World positions (N, H, W, 3) of what the pixel centres see; depth (N, H, W), where it is not finite 0 is used."""
    rays = cameras.token_rays(cameras.height, cameras.width)
    reach = torch.where(torch.isfinite(depth), depth, torch.zeros_like(depth))
    return rays.origins + reach[..., None] * rays.directions


def sample_bilinear(values: Tensor, pixels: Tensor) -> Tensor:
    """Values (N, C, H, W) at pixels (N, ..., 2), pixel centres at +0.5; beyond the border the border's value."""
    height, width = values.shape[-2:]
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)


def project_points(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Pixels (N, H, W, 2) and distances (N, H, W), negative behind the camera, of points (N, H, W, 3)."""
    pixels, z_depth = cameras.project(points.flatten(1, 2))
    distance = (points - cameras.positions[:, None, None]).norm(dim=-1)
    return pixels.reshape(*points.shape[:3], 2), distance * z_depth.reshape(points.shape[:3]).sign()


def seen_there(pixels: Tensor, distance: Tensor, depth: Tensor, silhouette: Tensor, tolerance: float) -> Tensor:
    """Whether all four pixels round each position (N, H, W, 2) show the object at that distance: (N, H, W) bool."""
    count, height, width = depth.shape
    corner = (pixels - 0.5).floor().clamp(-2, max(height, width) + 1).long()
    view = torch.arange(count, device=depth.device)[:, None, None]
    seen = distance > 0
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = corner[..., 0] + right, corner[..., 1] + down
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        column, row = column.clamp(0, width - 1), row.clamp(0, height - 1)
        near = (depth[view, row, column] - distance).abs() < tolerance * distance
        seen = seen & inside & near & silhouette[view, row, column]
    return seen
