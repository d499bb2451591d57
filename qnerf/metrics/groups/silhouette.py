"""Overlap of the edited object's silhouette with the true one, and the same of the true views, its
ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

THRESHOLD = "metrics.silhouette_threshold"


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.silhouette import silhouette_iou

    truth, threshold = edited.truth, edited.settings[THRESHOLD]
    pictures = {"silhouette_iou": edited.images, "silhouette_iou_ceiling": truth.edited_images}
    return {name: silhouette_iou(images, truth, threshold) for name, images in pictures.items()}


METRICS = (
    Metric(
        "silhouette_iou", "silhouette", ("truth", "plates"), "", "higher",
        "Intersection over union of the edited and the true silhouette.",
        "ours", measure, "silhouette overlap", digits=3, place=40, reads=(THRESHOLD,),
    ),
    Metric(
        "silhouette_iou_ceiling", "silhouette", ("truth", "plates"), "", None,
        "The same figure of the true edited views: the best that this segmentation can find.",
        "ours", measure, "… of the true views (ceiling)", digits=3, place=41, reads=(THRESHOLD,),
    ),
)  # fmt: skip
