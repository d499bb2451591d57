"""How well two silhouettes cover each other, picture by picture."""

from __future__ import annotations

import torch
from torch import Tensor


def mask_iou(found: Tensor, true: Tensor) -> Tensor:
    """(N,) intersection over union of masks (N, H, W) bool, |A ∩ B| / |A ∪ B|; NaN where both are empty."""
    both, either = (found & true).flatten(1).sum(1), (found | true).flatten(1).sum(1)
    return both.float() / either.float()


def share_inside(found: Tensor, region: Tensor) -> Tensor:
    """(N,) share of each mask that lies in a region, |A ∩ R| / |A|, masks (N, H, W) bool; 0 for a mask that is empty.

    Quote it beside `mask_iou`: a dot inside the region has the best share.
    """
    area = found.flatten(1).sum(1)
    return (found & region).flatten(1).sum(1).float() / area.clamp_min(1).float()


def constant_iou(true: Tensor) -> float:
    """Median `mask_iou` of one mask for all pictures, the pixels that most of the true masks (N, H, W) cover: the floor."""
    best = (true.float().mean(dim=0) > 0.5).expand_as(true)
    return torch.nanmedian(mask_iou(best, true)).item()
