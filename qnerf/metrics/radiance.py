"""What one radiance field makes of all views: likeness of its renderings to held-out views, and how far its depths agree.

The depth that the field shows in one view, carried into a neighbour, must be what it shows there. Every pixel x of view j whose
point X = o_j + D_j(x) d_j(x) lies in the region of interest is projected into a neighbour i; the depths agree where

    | |X - o_i| - D_i(p_i(X)) | < tolerance · |X - o_i|,

D_i read at the nearest pixel. Views that contradict each other leave fog in the field, whose expected depth depends on the view.
Occlusions lower the share too, so it is read beside that of the source views.
"""

from __future__ import annotations

from torch import Tensor

from qnerf.common.finite import require_finite
from qnerf.fields.rgb_field import train_rgb_field
from qnerf.fields.settings import RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.metrics.epipolar import neighbours
from qnerf.metrics.fidelity import psnr, ssim
from qnerf.metrics.heldout import split_views
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.warping import project_points, surface_points

SMALLEST = 11  # pixels of the shorter side, the window of SSIM


def radiance_figures(
    images: Tensor, cameras: Cameras, space: Space, every: int, settings: RgbFieldSettings, seed: int, tolerance: float
) -> dict[str, float]:
    """heldout_psnr, heldout_ssim, heldout_views and depth_agreement of views (N, 3, H, W) in [0,
    1], by one field trained on all but every `every`-th view. All NaN where that leaves none to
    test or fewer than two to train. Raises UserError where the field renders NaN."""
    kept, held_out = split_views(len(cameras), every)
    if len(kept) < 2 or not held_out:
        return dict.fromkeys(("heldout_psnr", "heldout_ssim", "heldout_views", "depth_agreement"), float("nan"))
    field = train_rgb_field(images[kept], cameras[kept], space, settings, seed)
    rendered, depth = field.render(cameras)
    require_finite(rendered, "renderings of the radiance field", [f"view {view}" for view in range(len(cameras))])
    large = min(images.shape[-2:]) >= SMALLEST
    return {
        "heldout_psnr": psnr(rendered[held_out], images[held_out]),
        "heldout_ssim": ssim(rendered[held_out], images[held_out]) if large else float("nan"),
        "heldout_views": float(len(held_out)),
        "depth_agreement": depth_agreement(depth, cameras, space, tolerance),
    }


def depth_agreement(depth: Tensor, cameras: Cameras, space: Space, tolerance: float) -> float:
    """The share, 0 to 1, of pixels with a point in the region of interest that falls into a neighbour's picture, whose depths
    agree; NaN where there is none. depth: (N, H, W) distances along the rays. tolerance: as a share of the distance."""
    agree, count = 0, 0
    for pair in neighbours(cameras):
        for view, other in (pair, pair[::-1]):
            points = surface_points(depth[[view]], cameras[[view]])
            pixels, distance = project_points(points, cameras[[other]])
            column, row = pixels[..., 0].floor().long(), pixels[..., 1].floor().long()
            inside = (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height) & (distance > 0)
            inside &= (points - space.focus.to(points)).norm(dim=-1) <= space.radius
            there = depth[other, row.clamp(0, cameras.height - 1), column.clamp(0, cameras.width - 1)]
            agree += int(((distance - there).abs() < tolerance * distance)[inside].sum())
            count += int(inside.sum())
    return agree / count if count else float("nan")
