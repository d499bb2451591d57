"""Likeness to the true edited views: everywhere, inside the old and new silhouettes, on the moved parts, and
outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qnerf.metrics.registry import Metric

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited


def measure(edited: Edited) -> dict[str, float]:
    from qnerf.metrics.fidelity import psnr, ssim

    images, truth = edited.images, edited.truth
    touched = truth.silhouette_source | truth.silhouette_edited
    return {
        "psnr_truth": psnr(images, truth.edited_images),
        "ssim_truth": ssim(images, truth.edited_images),
        "psnr_object": psnr(images, truth.edited_images, touched),
        "psnr_moved": psnr(images, truth.edited_images, truth.moved_edited),
        "psnr_background": psnr(images, truth.edited_images, ~touched),
    }


METRICS = (
    Metric(
        "psnr_truth", "fidelity", ("truth",), "dB", "higher",
        "Likeness to the true edited views, over all pixels.",
        "the usual definition", measure, "PSNR, whole view", digits=2, place=10, headline=3,
    ),
    Metric(
        "ssim_truth", "fidelity", ("truth",), "", "higher",
        "Structural similarity to the true edited views, 0 to 1.",
        "Wang et al. 2004", measure, "SSIM, whole view", place=11,
    ),
    Metric(
        "psnr_object", "fidelity", ("truth",), "dB", "higher",
        "Likeness to the true edited views inside the union of the silhouettes before and after the edit.",
        "the usual definition", measure, "PSNR, object", digits=2, place=12, headline=2,
    ),
    Metric(
        "psnr_moved", "fidelity", ("truth",), "dB", "higher",
        "Likeness to the true edited views on the parts that the edit moved.",
        "the usual definition", measure, "PSNR, moved parts", digits=2, place=13,
    ),
    Metric(
        "psnr_background", "fidelity", ("truth",), "dB", "higher",
        "Likeness to the true edited views outside both silhouettes, where only the shadow should change.",
        "the usual definition", measure, "PSNR, background", digits=2, place=14,
    ),
)  # fmt: skip
