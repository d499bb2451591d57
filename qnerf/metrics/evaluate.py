"""All figures of one edit that can be had, under the names of `metrics.json` and in the order of `comparison.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from qnerf.fields.settings import RgbFieldSettings
from qnerf.metrics.against_truth import truth_figures
from qnerf.metrics.depth import field_depth_error
from qnerf.metrics.heldout import heldout_in_scene
from qnerf.metrics.settings import MetricsSettings
from qnerf.scenes.scene import Scene

COMPARISON_COLUMNS = (
    "psnr_truth",
    "ssim_truth",
    "psnr_object",
    "psnr_moved",
    "psnr_background",
    "consistency_object",
    "consistency_object_floor",
    "consistency_moved",
    "consistency_moved_floor",
    "error_of_mean",
    "error_about_mean",
    "silhouette_iou",
    "silhouette_iou_floor",
    "heldout_psnr",
    "reconstruction_psnr",
    "field_depth_error",
)


def evaluate_group(
    group: str,
    edited: Tensor,
    scene: Scene,
    settings: MetricsSettings,
    rgb_settings: RgbFieldSettings,
    seed: int,
    field_depth: Tensor | None = None,
) -> dict[str, float]:
    """One of the settings' measured groups of figures of edited views (N, 3, H, W) in [0, 1], keyed as `COMPARISON_COLUMNS`,
    without those that do not apply.

    field_depth: (N, rows, columns) expected depth of the last query field, world units.
    """
    if group == "heldout":
        figures = {"heldout_psnr": heldout_in_scene(edited, scene, settings.heldout_every, rgb_settings, seed)}
    elif scene.truth is None or (group == "depth" and field_depth is None):
        figures = {}
    elif group == "depth" and field_depth is not None:
        depth, silhouette = scene.truth.depth_edited, scene.truth.silhouette_edited
        figures = {"field_depth_error": field_depth_error(field_depth, depth, silhouette)}
    else:
        one = MetricsSettings.model_validate({**settings.model_dump(), "groups": (group,)})
        figures = truth_figures(edited, scene.truth, scene.cameras, one)
    return in_order(figures)


def in_order(figures: Mapping[str, float]) -> dict[str, float]:
    """The finite figures in the order of `COMPARISON_COLUMNS`."""
    return {name: figures[name] for name in COMPARISON_COLUMNS if math.isfinite(figures.get(name, math.nan))}
