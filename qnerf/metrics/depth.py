"""How well a query field knows the shape: its expected depth against the true depth of the edited object."""

from __future__ import annotations

import torch
from torch import Tensor


def field_depth_error(depth: Tensor, truth: Tensor, silhouette: Tensor) -> float:
    """Mean absolute error, world units, over the tokens whose centre shows the object; NaN where none does.

    depth: (N, rows, columns) rendered distances along the rays of the tokens' centres. truth: (N, H, W) true distances.
    silhouette: (N, H, W) bool.
    """
    rows = _centres(depth.shape[1], truth.shape[1])
    columns = _centres(depth.shape[2], truth.shape[2])
    expected, inside = truth[:, rows][:, :, columns], silhouette[:, rows][:, :, columns]
    error = (depth.to(expected) - expected).abs()[inside & torch.isfinite(expected)]
    return error.mean().item() if error.numel() else float("nan")


def _centres(tokens: int, pixels: int) -> Tensor:
    return ((torch.arange(tokens) + 0.5) * pixels / tokens).long()
