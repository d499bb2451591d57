"""What of an edit's error its views share, and what each has of its own (`qnerf.metrics.error_split`)."""

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
        "Of what the views show in the mean of a point of the true edited surface: what they would keep if they agreed on it.",
        "ours", measure, "squared error of the views' mean", digits=5, place=30, gain="share", reads=(TOLERANCE,),
    ),
    Metric(
        "error_about_mean", "errors", ("truth",), "", None,
        "How far views are from that mean: what is there to be consolidated. Blur lowers it, another shape raises it.",
        "ours", measure, "squared error of the views about it", digits=5, place=31, gain="share", reads=(TOLERANCE,),
    ),
)  # fmt: skip
