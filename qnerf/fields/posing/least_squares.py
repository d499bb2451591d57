"""Small least-squares fits that give the same bits each time."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 1e-7  # beside columns of length 1: decides where the rows do not


def least_squares(rows: Tensor, values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The x (K, D) of least Σ_n w_n |rows_n x - values_n|², for few unknowns K: by the normal equations, in float64.

    rows: (N, K), values: (N, D), weight: (N,), not negative, 1 if left out. Where the rows do not say all of x it is the shortest,
    in the unit of each column's length.
    Not `torch.linalg.lstsq`: on a CPU its default reads pivots that it has not set (gelsy's JPVT, seen in torch 2.13), so that the
    last bits depend on what lay in that memory before.
    """
    left, right = rows.cpu().double(), values.cpu().double()  # not every GPU has float64
    weighted = left if weight is None else left * weight.cpu().double()[:, None]
    normal, aim = weighted.T @ left, weighted.T @ right
    length = normal.diagonal().sqrt()
    length = torch.where(length > 0, length, torch.ones_like(length))  # without any weight x is 0
    scaled = normal / length[:, None] / length + RIDGE * torch.eye(len(normal)).to(normal)
    return (torch.linalg.solve(scaled, aim / length[:, None]) / length[:, None]).to(rows)
