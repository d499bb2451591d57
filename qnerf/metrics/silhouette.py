"""Overlap of the edited object's silhouette with the true one, found against clean plates.

An edited view has no silhouette of its own. It is estimated as the pixels that differ from the background in a colour
channel by at least a threshold, `max_c |I - B| >= θ`. The background B is the clean plate (the scene without its object)
inside the true silhouette, and the true edited view outside it, where the object's shadow falls. Where the object has the
background's colour it cannot be seen: θ is lowered until the true views overlap by 0.95, and their overlap is the figure's
ceiling (`silhouette_iou_ceiling`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.scenes.scene import Truth

RECALL = 0.95  # of the true object's pixels that the threshold must still find in the true views


def silhouette_iou(images: Tensor, truth: Truth, largest_threshold: float) -> float:
    """Intersection over union, all views together, of the estimated and the true silhouettes; NaN without plates.

    images: (N, 3, H, W) in [0, 1]. largest_threshold: the bound of `calibrated_threshold`, in [0, 1].
    """
    inside = truth.silhouette_edited
    if truth.plates is None or not inside.any():
        return float("nan")
    threshold = calibrated_threshold(truth, truth.plates, largest_threshold)
    background = torch.where(inside[:, None], truth.plates, truth.edited_images)
    estimated = _difference(images, background) >= threshold
    return (estimated & inside).sum().item() / (estimated | inside).sum().item()


def calibrated_threshold(truth: Truth, plates: Tensor, largest: float) -> float:
    """The θ at which 95 % of the true object's pixels are found in the true views, or `largest` where that finds more."""
    found = _difference(truth.edited_images, plates)[truth.silhouette_edited]
    rank = max(1, round((1 - RECALL) * found.numel()))
    return min(largest, found.kthvalue(rank).values.item())


def _difference(images: Tensor, background: Tensor) -> Tensor:
    return (images - background).abs().amax(dim=1)
