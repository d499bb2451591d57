"""The hash grid through Triton's kernels, as one differentiable torch function, for CUDA.

Triton comes with PyTorch's own CUDA wheels, so nothing else has to be installed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from qnerf.fields.encodings import triton_kernels
from qnerf.fields.encodings.layout import GridLayout

BLOCK = 128
"""Points of one program."""
INTERPRETED = not isinstance(triton_kernels.forward, triton.JITFunction)
"""Whether TRITON_INTERPRET=1 was set when the kernels were imported: they then run on a CPU."""


@lru_cache(maxsize=32)
def _levels(layout: GridLayout, device: torch.device) -> tuple[Tensor, Tensor]:
    """Resolutions (int32) and first rows (int64) of the levels, there once and for all: a step copies nothing to the device."""
    resolutions = torch.tensor(layout.resolutions, dtype=torch.int32, device=device)
    return resolutions, torch.tensor(layout.offsets[:-1], dtype=torch.int64, device=device)


def _launch(kernel: Any, programs: int, layout: GridLayout, positions: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Over blocks of points, `programs` of them each, on the device where the positions are."""
    points, sizes = len(positions), {"LEVELS": len(layout.resolutions), "FEATURES": layout.features, "BLOCK": BLOCK}
    with torch.cuda.device_of(positions):
        levels = _levels(layout, positions.device)
        kernel[triton.cdiv(points, BLOCK), programs](positions, *inputs, *levels, output, points, layout.table_size, **sizes)


class _TritonGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: Tensor, layout: GridLayout, stored: torch.dtype) -> Tensor:
        positions, read = positions.contiguous(), table.to(stored).contiguous()
        encoded = torch.empty(len(positions), layout.width, dtype=torch.float32, device=table.device)
        _launch(triton_kernels.forward, len(layout.resolutions), layout, positions, (read,), encoded)
        ctx.save_for_backward(positions, read)
        ctx.layout, ctx.dtype = layout, table.dtype
        return encoded

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        positions, table = ctx.saved_tensors
        layout, levels, gradient = ctx.layout, len(ctx.layout.resolutions), gradients[0].contiguous()
        on_positions = on_table = None
        if ctx.needs_input_grad[0]:
            on_positions = torch.empty_like(positions)
            _launch(triton_kernels.backward_positions, 1, layout, positions, (table, gradient), on_positions)
        if ctx.needs_input_grad[1]:
            on_table = torch.zeros(table.shape, dtype=torch.float32, device=table.device)
            _launch(triton_kernels.backward_table, levels, layout, positions, (gradient,), on_table)
            on_table = on_table.to(ctx.dtype)
        return on_positions, on_table, None, None


def encode_triton(positions: Tensor, table: Tensor, layout: GridLayout, stored: torch.dtype | None = None) -> Tensor:
    """As `encode_torch`: positions (P, 3) in [0, 1], table (rows, features) to (P, levels * features), float32.

    table, stored: float32 or float16. Sums are float32 in any case; at the end the table's gradient is rounded
    to the table's own type.
    """
    return _TritonGrid.apply(positions, table, layout, stored or table.dtype)  # pyright: ignore[reportReturnType]
