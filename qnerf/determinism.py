"""Results that are bit-equal from run to run on a CUDA GPU too, but slower. On a CPU they always are."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from qnerf.errors import UserError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
REPRODUCIBLE = (":4096:8", ":16:8")
"""What cuBLAS documents as reproducible."""


def set_deterministic(wanted: bool) -> None:
    """For this process: PyTorch takes operations whose sums have one order, and raises RuntimeError where it has none.

    To be called before the GPU is first used. Raises UserError where the environment asks cuBLAS for other workspaces.
    """
    if wanted and os.environ.setdefault(WORKSPACE, REPRODUCIBLE[0]) not in REPRODUCIBLE:
        raise UserError(
            f"deterministic is true, but the environment variable {WORKSPACE} is {os.environ[WORKSPACE]!r}; "
            f"expected {' or '.join(REPRODUCIBLE)}: unset it or set deterministic=false"
        )
    torch.use_deterministic_algorithms(wanted)
    # Where sizes repeat, cuDNN's fastest algorithm of several is worth its search; which one wins may differ from run to run.
    torch.backends.cudnn.benchmark = not wanted


def deterministic(device: torch.device) -> bool:
    """Whether a CUDA device's results are to be bit-equal from run to run."""
    return device.type == "cuda" and torch.are_deterministic_algorithms_enabled()


def running_sum(x: Tensor) -> Tensor:
    """torch.cumsum over the last axis, (..., S). On a GPU in the deterministic mode, where PyTorch's refuses, it is a product with
    a triangle of ones."""
    return triangle_sum(x) if deterministic(x.device) else x.cumsum(-1)


def triangle_sum(x: Tensor) -> Tensor:
    return x @ torch.ones(x.shape[-1], x.shape[-1], dtype=x.dtype, device=x.device).triu()
