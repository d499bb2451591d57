"""Small least-squares fits that give the same bits each time."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-7  # of the mean square of an unknown's column: decides where the rows do not


def least_squares(rows: Tensor, values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The x (K, D) of least Σ_n w_n |rows_n x - values_n|², for few unknowns K: by the normal
    equations, in float64.

    rows: (N, K), values: (N, D), weight: (N,), not negative, 1 if left out. Where the rows do not
    say all of x it is the shortest. Not `torch.linalg.lstsq`: on a CPU its default reads pivots
    that it has not set (gelsy's JPVT, seen in torch 2.13), so that the last bits depend on what lay
    in that memory before.
    """
    left, right = rows.double(), values.double()
    weighted = left if weight is None else left * weight.double()[:, None]
    normal = weighted.T @ left
    ridge = (RIDGE * normal.diagonal().mean()).clamp_min(1e-30)  # without any weight x is 0
    return torch.linalg.solve(normal + ridge * torch.eye(len(normal)).to(normal), weighted.T @ right).to(rows.dtype)
