"""The squared error of an edit in two parts: that of the mean over views, and the variance between views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

TOLERANCE = "metrics.depth_tolerance"


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.error_split import split_error

    truth = edited.truth
    parts = split_error(edited.images, truth, truth.silhouette_edited, edited.scene.cameras, edited.settings[TOLERANCE])
    return dict(zip(("error_of_mean", "error_about_mean"), parts, strict=True))


METRICS = (
    Metric(
        "error_of_mean", "errors", ("truth",), "", None,
        "Squared error of the mean over views, at points of the true edited surface: what remains if all "
        "views agree.",
        "ours", measure, "squared error of the mean over views", digits=5, place=30, gain="share",
        reads=(TOLERANCE,),
    ),
    Metric(
        "error_about_mean", "errors", ("truth",), "", None,
        "Variance of the views about that mean: what consolidation can remove. Blur lowers it, a wrong "
        "shape raises it.",
        "ours", measure, "variance between views", digits=5, place=31, gain="share", reads=(TOLERANCE,),
    ),
)  # fmt: skip
