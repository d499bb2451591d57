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
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.warping import project_points, sample_bilinear, seen_there, surface_points

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
