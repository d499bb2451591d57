"""One view's picture carried into others by the depth of the scene."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.warping import project_points, sample_bilinear, seen_there, surface_points


def carry(image: Tensor, depth: Tensor, cameras: Cameras, anchor: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """What the view `anchor` shows of the surface that every view sees: pictures (N, 3, H, W), and where it shows it, (N, 1, H, W),
    0 or 1.

    image: (3, H, W) of the anchor. depth: (N, H, W) distances along the rays, world units, infinite where there is no surface.
    Pixel x of view j sees X = o_j + D_j(x) d_j(x), which is looked up in the anchor where it is seen there too: where all four
    samples round its place lie on a surface at |X - o| to the tolerance, a share of the distance.
    """
    surface, parts = torch.isfinite(depth), []
    for view in range(len(cameras)):
        points = surface_points(depth[[view]], cameras[[view]])
        pixels, distance = project_points(points, cameras[[anchor]])
        seen = seen_there(pixels, distance, depth[[anchor]], surface[[anchor]], tolerance) & surface[[view]]
        parts.append((sample_bilinear(image[None], pixels), seen[:, None].to(image)))
    pictures, where = zip(*parts, strict=True)
    return torch.cat(pictures), torch.cat(where)
