"""Small least-squares fits that give the same bits each time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def least_squares(rows: Tensor, values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The shortest x (K, D) of least Σ_n w_n |rows_n x - values_n|², by NumPy in float64.

    rows: (N, K), values: (N, D), weight: (N,), not negative, 1 if left out. Not
    `torch.linalg.lstsq`: on a CPU its default reads pivots that it has not set (gelsy's JPVT, seen
    in torch 2.13), so that the last bits depend on what lay in that memory before.
    """
    left, right = rows.cpu().double(), values.cpu().double()
    if weight is not None:
        root = weight.cpu().double().sqrt()[:, None]
        left, right = left * root, right * root
    return torch.from_numpy(np.linalg.lstsq(left.numpy(), right.numpy(), rcond=None)[0]).to(rows)
