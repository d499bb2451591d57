"""Results that are bit-equal from run to run on a CUDA GPU, for a price in time. A CPU's always are."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.fields.settings import EncodingName

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
REPRODUCIBLE = (":4096:8", ":16:8")
"""What cuBLAS documents as reproducible."""


def set_deterministic(wanted: bool) -> None:
    """For this process: PyTorch takes operations whose sums have one order, and raises RuntimeError where it has none.

    To be called before the GPU is first used. Raises UserError where the environment asks cuBLAS for other workspaces.
    """
    if wanted and os.environ.setdefault(WORKSPACE, REPRODUCIBLE[0]) not in REPRODUCIBLE:
        raise UserError(
            f"deterministic is true, but the environment's {WORKSPACE} is {os.environ[WORKSPACE]!r}; expected "
            f"{' or '.join(REPRODUCIBLE)}: unset it or set deterministic=false"
        )
    torch.use_deterministic_algorithms(wanted)
    # Where sizes repeat, cuDNN's fastest algorithm of several is worth its search; which one wins may differ from run to run.
    torch.backends.cudnn.benchmark = not wanted


def deterministic(device: torch.device) -> bool:
    """Whether a CUDA device's results are to be bit-equal from run to run."""
    return device.type == "cuda" and torch.are_deterministic_algorithms_enabled()


def encoding_for(name: EncodingName, device: torch.device) -> EncodingName:
    """The hash grid's implementation: of those on a GPU, plain torch's alone adds its gradients in one order.

    Raises UserError where another one is asked for by name.
    """
    if not deterministic(device) or name == "torch":
        return name
    if name != "auto":
        raise UserError(
            f"field.encoding is {name!r}, whose gradients have no fixed order on a GPU, but deterministic is true; set "
            "field.encoding=auto or deterministic=false"
        )
    return "torch"


def running_sum(x: Tensor, exclusive: bool = False) -> Tensor:
    """Σ of the last axis up to each place, itself left out if `exclusive`: (..., S) to (..., S).

    A product with a triangle of ones: PyTorch's cumsum refuses to be deterministic on a GPU.
    """
    count = x.shape[-1]
    return x @ torch.ones(count, count, dtype=x.dtype, device=x.device).triu(int(exclusive))
