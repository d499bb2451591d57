"""The hash grid through warp's kernels, as one differentiable torch function. Float32; CPU (deterministic) or CUDA."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

import torch
import warp as wp
from torch import Tensor

from qnerf.fields.encodings.layout import GridLayout
from qnerf.fields.encodings.reference import as_stored
from qnerf.fields.encodings.warp_kernels import kernels


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=16, thread_name_prefix="hash-grid")


@cache
def _loaded(features: int, device: str) -> tuple[Any, Any, Any]:
    """The kernels, compiled and loaded by one thread before several launch them."""
    made = kernels(features)
    for kernel in made:
        wp.load_module(kernel.module, device=device)
    return made


@lru_cache(maxsize=32)
def _tables(layout: GridLayout, device: str) -> tuple[Any, Any]:
    resolutions = wp.array(layout.resolutions, dtype=wp.int32, device=device)
    return resolutions, wp.array(layout.offsets[:-1], dtype=wp.int32, device=device)


def _vectors(tensor: Tensor, length: int) -> Any:
    return wp.from_torch(tensor, dtype=wp.types.vector(length=length, dtype=wp.float32))


def _over_levels(levels: int, device: torch.device, launch: Callable[[int, int], None]) -> None:
    """launch(first, stride) for interleaved shares of the levels, one thread each.

    A level belongs to one thread and its sums keep one order, so the number of threads changes no bit of the result.
    """
    threads = min(torch.get_num_threads(), levels) if device.type == "cpu" else 1
    if threads == 1:
        launch(0, 1)
        return
    jobs = [_pool().submit(launch, first, threads) for first in range(threads)]
    for job in jobs:
        job.result()


class _HashGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
        positions, table = positions.contiguous(), table.contiguous()
        levels, device = len(layout.resolutions), str(wp.device_from_torch(table.device))
        encoded = torch.empty(len(positions), levels, layout.features, device=table.device)
        resolutions, offsets = _tables(layout, device)
        inputs = [wp.from_torch(positions.detach(), dtype=wp.vec3), _vectors(table.detach(), layout.features)]
        output, kernel = _vectors(encoded, layout.features), _loaded(layout.features, device)[0]

        def launch(first: int, stride: int) -> None:
            shape = (len(range(first, levels, stride)), len(positions))
            scalars = [resolutions, offsets, first, stride, layout.table_size]
            wp.launch(kernel, shape, [*inputs, *scalars], [output], device=device)

        _over_levels(levels, table.device, launch)
        ctx.save_for_backward(positions, table)
        ctx.layout = layout
        return encoded.view(len(positions), layout.width)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        positions, table = ctx.saved_tensors
        layout: GridLayout = ctx.layout
        gradient = gradients[0].contiguous().view(len(positions), len(layout.resolutions), layout.features)
        on_positions = _backward_positions(positions, table, gradient, layout) if ctx.needs_input_grad[0] else None
        on_table = _backward_table(positions, table, gradient, layout) if ctx.needs_input_grad[1] else None
        return on_positions, on_table, None


def _backward_table(positions: Tensor, table: Tensor, gradient: Tensor, layout: GridLayout) -> Tensor:
    result, device = torch.zeros_like(table), str(wp.device_from_torch(table.device))
    resolutions, offsets = _tables(layout, device)
    inputs = [wp.from_torch(positions.detach(), dtype=wp.vec3), _vectors(gradient, layout.features)]
    output, kernel = _vectors(result, layout.features), _loaded(layout.features, device)[1]

    def launch(first: int, stride: int) -> None:
        shape = (len(range(first, len(layout.resolutions), stride)), len(positions))
        scalars = [resolutions, offsets, first, stride, layout.table_size]
        wp.launch(kernel, shape, [*inputs, *scalars], [output], device=device)

    _over_levels(len(layout.resolutions), table.device, launch)
    return result


def _backward_positions(positions: Tensor, table: Tensor, gradient: Tensor, layout: GridLayout) -> Tensor:
    result, device = torch.empty_like(positions), str(wp.device_from_torch(table.device))
    resolutions, offsets = _tables(layout, device)
    inputs = [
        wp.from_torch(positions.detach(), dtype=wp.vec3),
        _vectors(table.detach(), layout.features),
        _vectors(gradient, layout.features),
    ]
    output = wp.from_torch(result, dtype=wp.vec3)
    scalars = [resolutions, offsets, layout.table_size]
    wp.launch(_loaded(layout.features, device)[2], len(positions), [*inputs, *scalars], [output], device=device)
    return result


def encode_warp(positions: Tensor, table: Tensor, layout: GridLayout, stored: torch.dtype | None = None) -> Tensor:
    """As `encode_torch`, in float32: positions (P, 3) in [0, 1], table (rows, features) to (P, levels * features)."""
    return _HashGrid.apply(positions, as_stored(table, stored), layout)  # pyright: ignore[reportReturnType]
