"""Closeness of edited views to the true ones: PSNR, whole or inside a mask, and SSIM. Images (N, 3, H, W) in [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

LEAST_ERROR = 1e-10  # mean squared error below which PSNR stops: two equal images score 100 dB, not infinity


def psnr(images: Tensor, reference: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio, dB: the mean over views of -10 log10(mean of (I - I*)^2 over channels and pixels).

    mask: (N, H, W) bool, the pixels that count; views without any are left out. NaN where no pixel counts at all.
    """
    squared = (images - reference).square().mean(dim=1).flatten(1)
    weight = torch.ones_like(squared) if mask is None else mask.flatten(1).to(squared.dtype)
    count = weight.sum(dim=1)
    error = (squared * weight).sum(dim=1)[count > 0] / count[count > 0]
    return (-10 * error.clamp_min(LEAST_ERROR).log10()).mean().item()


def ssim(images: Tensor, reference: Tensor) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window of 11 pixels), the mean over views; 1 is equal."""
    pairs = zip(images.split(1), reference.split(1), strict=True)  # one by one: memory must not grow with the views
    views = [structural_similarity_index_measure(view, true, data_range=1.0) for view, true in pairs]
    return torch.stack([value[0] if isinstance(value, tuple) else value for value in views]).mean().item()
