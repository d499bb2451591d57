"""Consistency of edited views: what one view shows of a surface must be what its neighbours show of it (docs/method.md §6).

Every pixel x of view j that sees the object is lifted by the true depth D_j of the edited scene to X = o_j + D_j(x) d_j(x),
projected into a neighbour i, and compared there:

    e = mean over i, j, x of |I_j(x) - I_i(p_i(X))|, averaged over the colour channels, I_i sampled bilinearly,

over the pixels whose four samples in view i all lie on the object, at |X - o_i| to a tolerance: the surface is seen there
too, and no sample is mixed with what lies beside it. Neighbours are the views at ±1 on the closed ring of cameras. True
views have an error too, from resampling: every figure is quoted beside that floor, and never without a fidelity figure,
since blur lowers it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.cameras import Cameras

VIEWS_AT_ONCE = 8
"""Views are warped so many at a time: memory must not grow with their number."""


def warp_error(images: Tensor, depth: Tensor, silhouette: Tensor, counted: Tensor, cameras: Cameras, tolerance: float) -> float:
    """Mean absolute colour difference, in [0, 1], between views and their warped neighbours; NaN where none overlap.

    images: (N, 3, H, W). depth: (N, H, W) true distances along the rays. silhouette, counted: (N, H, W) bool, the object,
    and the pixels of view j that count. tolerance: of the depth test, as a share of the distance.
    """
    total, count = images.new_zeros((), dtype=torch.float64), 0
    for views in torch.arange(len(cameras)).split(VIEWS_AT_ONCE):
        view = views.tolist()
        points = surface_points(depth[view], cameras[view])
        for shift in (1, -1) if len(cameras) > 2 else (1,):
            neighbour = ((views + shift) % len(cameras)).tolist()
            pixels, distance = project_points(points, cameras[neighbour])
            seen = seen_there(pixels, distance, depth[neighbour], silhouette[neighbour], tolerance)
            valid = seen & counted[view] & silhouette[view]
            error = (images[view] - sample_bilinear(images[neighbour], pixels)).abs().mean(dim=1)
            total, count = total + error[valid].double().sum(), count + int(valid.sum())
    return (total / count).item() if count else float("nan")


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
