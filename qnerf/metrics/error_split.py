"""The squared error of an edit as the error of the mean over views plus the variance between views (ours).

A point X of the true edited surface is seen by n views. View i shows it with the error e_i(X) = I_i - I*_i,
taken at the pixel of X in view i. Then

    mean_i e_i² = (mean_i e_i)² + var_i e_i :    the squared error of the mean over views, and the variance between views.

The first part would remain if all views showed their mean. It holds the error that all views share (all raise
an arm straight that should be bent), and 1/n of the independent error. The second part says how much the
views differ at the *true* surface. Blur lowers it, and views that agree on a wrong shape also show different
colours there. So neither part is good or bad by itself: read them together.

Points are the pixels of every view that show the object's true edited surface. The errors of other views are
sampled bilinearly, as in the warp error (`qnerf.metrics.warp`). This smooths errors that vary from pixel to
pixel, so the sum is somewhat below the squared error of the pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qnerf.metrics.warp import VIEWS_AT_ONCE
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Truth
from qnerf.scenes.warping import project_points, sample_bilinear, seen_there, surface_points

LEAST_VIEWS = 3
"""Views that must see a point for it to count: of fewer the mean says little."""
MOST_OTHERS = 15
"""Each view is compared with at most so many others, so that the time per view is bounded."""


def split_error(edited: Tensor, truth: Truth, counted: Tensor, cameras: Cameras, tolerance: float) -> tuple[float, float]:
    """The error of the mean over views and the variance between views, each averaged over channels and
    points.

    edited: (N, 3, H, W). counted: (N, H, W) bool, the pixels whose points count, if they show the object and `LEAST_VIEWS` views
    see them; NaN where there is no such point. tolerance: of the depth test, as a share of the distance.
    """
    errors, depth, silhouette = edited - truth.edited_images, truth.depth_edited, truth.silhouette_edited
    sums, count = errors.new_zeros(2, dtype=torch.float64), 0
    for some in torch.arange(len(cameras)).split(VIEWS_AT_ONCE):
        views = some.tolist()
        points, seen_by = surface_points(depth[views], cameras[views]), torch.ones_like(depth[views])
        total, squares = errors[views].clone(), errors[views].square()
        for shift in compared_shifts(len(cameras)):
            other = ((some + shift) % len(cameras)).tolist()
            pixels, distance = project_points(points, cameras[other])
            seen = seen_there(pixels, distance, depth[other], silhouette[other], tolerance)
            found = torch.where(seen[:, None], sample_bilinear(errors[other], pixels), torch.zeros_like(total))
            seen_by, total, squares = seen_by + seen, total + found, squares + found.square()
        chosen = counted[views] & silhouette[views] & (seen_by >= LEAST_VIEWS)
        mean = (total / seen_by[:, None]).square().mean(dim=1)[chosen].double()
        all_views = (squares / seen_by[:, None]).mean(dim=1)[chosen].double()
        sums, count = sums + torch.stack([mean.sum(), (all_views - mean).sum()]), count + int(chosen.sum())
    of_mean, about_mean = (sums / count).tolist() if count else (math.nan, math.nan)
    return of_mean, about_mean


def compared_shifts(views: int) -> list[int]:
    """How far along the ring the views are with which each one is compared: all others, or `MOST_OTHERS` evenly spaced."""
    if views - 1 <= MOST_OTHERS:
        return list(range(1, views))
    return [1 + round(i * (views - 2) / (MOST_OTHERS - 1)) for i in range(MOST_OTHERS)]
