"""Warp errors over the whole object and over the parts that the edit moved, each with the same of the true
views, its floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

TOLERANCE = "metrics.depth_tolerance"


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.warp import warp_error

    truth, cameras, tolerance = edited.truth, edited.scene.cameras, edited.settings[TOLERANCE]
    figures = {}
    for name, counted in (("object", truth.silhouette_edited), ("moved", truth.moved_edited)):
        for suffix, images in (("", edited.images), ("_floor", truth.edited_images)):
            figures[f"warp_error_{name}{suffix}"] = warp_error(
                images, truth.depth_edited, truth.silhouette_edited, counted, cameras, tolerance
            )
    return figures


METRICS = (
    Metric(
        "warp_error_object", "consistency", ("truth",), "", "lower",
        "Mean absolute colour difference (0 to 1) between each edited view and its neighbours warped into "
        "it by the true depth of the edited scene, over the visible pixels of the whole object.",
        "ours, after Lai et al. 2018", measure, "warp error, whole object", place=20, gain="share",
        reads=(TOLERANCE,),
    ),
    Metric(
        "warp_error_object_floor", "consistency", ("truth",), "", None,
        "The warp error of the true edited views over the whole object: what resampling alone costs.",
        "ours, after Lai et al. 2018", measure, "… of the true views (floor)", place=21, reads=(TOLERANCE,),
    ),
    Metric(
        "warp_error_moved", "consistency", ("truth",), "", "lower",
        "Mean absolute colour difference (0 to 1) between each edited view and its neighbours warped into it by "
        "the true depth of the edited scene, over the visible pixels of the parts that the edit moved.",
        "ours, after Lai et al. 2018", measure, "warp error, moved parts", place=22, headline=1, gain="share",
        reads=(TOLERANCE,),
    ),
    Metric(
        "warp_error_moved_floor", "consistency", ("truth",), "", None,
        "The warp error of the true edited views over the moved parts: what resampling alone costs.",
        "ours, after Lai et al. 2018", measure, "… of the true views (floor)", place=23, reads=(TOLERANCE,),
    ),
)  # fmt: skip
