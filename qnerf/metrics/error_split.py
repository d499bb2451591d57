"""What of an edit's error is left when its views agree on their mean, and what is there to be consolidated (ours).

A point X of the true edited surface is seen by n views, and view i shows it with the error e_i(X) = I_i - I*_i at X's place in it.
Exactly,

    mean_i e_i² = (mean_i e_i)² + var_i e_i :    the squared error of the views' mean, and that of the views about it.

Views that agreed on the mean of what they show would keep the first part. In it is what they all have in common (all raise an arm
straight that should be bent), and one n-th of what is independent. The second part says how far they disagree at the *true*
surface: blur lowers it, and views that agree on another shape show different colours there too. So neither is good or bad
by itself; read them as parts of a whole.

Points are the pixels of every view that show the object's true edited surface; other views' errors are found as the warp error
finds colours (`qnerf.metrics.warp`), by bilinear interpolation. That smooths error which varies from pixel to pixel, so that the
sum is somewhat below the squared error of the pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qnerf.metrics.warp import VIEWS_AT_ONCE, project_points, sample_bilinear, seen_there, surface_points
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Truth

LEAST_VIEWS = 3
"""Views that must see a point for it to count: of fewer the mean says little."""
MOST_OTHERS = 15
"""Other views that each one is compared with, at most: time a view must not grow with their number."""


def split_error(edited: Tensor, truth: Truth, counted: Tensor, cameras: Cameras, tolerance: float) -> tuple[float, float]:
    """The mean squared errors, over channels, views and points, of the views' mean and of the views about it.

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
