"""The figures of an edit whose truth is known: fidelity and the parts of its error; consistency and silhouette, beside those of
the true views."""

from __future__ import annotations

from torch import Tensor

from qnerf.metrics.error_split import split_error
from qnerf.metrics.fidelity import psnr, ssim
from qnerf.metrics.settings import MetricsSettings
from qnerf.metrics.silhouette import silhouette_iou
from qnerf.metrics.warp import warp_error
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Truth


def truth_figures(edited: Tensor, truth: Truth, cameras: Cameras, settings: MetricsSettings) -> dict[str, float]:
    """The groups that the settings ask for, of edited views (N, 3, H, W) in [0, 1]; NaN where a figure does not exist."""
    figures: dict[str, float] = {}
    if "fidelity" in settings.groups:
        figures |= fidelity_figures(edited, truth)
    if "consistency" in settings.groups:
        figures |= consistency_figures(edited, truth, cameras, settings.depth_tolerance)
    if "errors" in settings.groups:
        parts = split_error(edited, truth, truth.silhouette_edited, cameras, settings.depth_tolerance)
        figures |= dict(zip(("error_of_mean", "error_about_mean"), parts, strict=True))
    if "silhouette" in settings.groups:
        for name, images in (("silhouette_iou", edited), ("silhouette_iou_floor", truth.edited_images)):
            figures[name] = silhouette_iou(images, truth, settings.silhouette_threshold)
    return figures


def fidelity_figures(edited: Tensor, truth: Truth) -> dict[str, float]:
    """Closeness to the true edited views: everywhere, in the union of the old and the new silhouette, and around it."""
    touched = truth.silhouette_source | truth.silhouette_edited
    return {
        "psnr_truth": psnr(edited, truth.edited_images),
        "ssim_truth": ssim(edited, truth.edited_images),
        "psnr_object": psnr(edited, truth.edited_images, touched),
        "psnr_moved": psnr(edited, truth.edited_images, truth.moved_edited),
        "psnr_background": psnr(edited, truth.edited_images, ~touched),
    }


def consistency_figures(edited: Tensor, truth: Truth, cameras: Cameras, tolerance: float) -> dict[str, float]:
    """Warp errors over the whole object and over the parts that the edit moved, each with that of the true views."""
    figures = {}
    for name, counted in (("object", truth.silhouette_edited), ("moved", truth.moved_edited)):
        for suffix, images in (("", edited), ("_floor", truth.edited_images)):
            figures[f"consistency_{name}{suffix}"] = warp_error(
                images, truth.depth_edited, truth.silhouette_edited, counted, cameras, tolerance
            )
    return figures
