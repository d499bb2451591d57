"""The hash grid in plain torch: slow and obvious, any float type, any device. The other implementations are held against it."""

from __future__ import annotations

import itertools
from functools import cache

import torch
from torch import Tensor

from qnerf.fields.encodings.layout import PRIMES, GridLayout


def corner_rows(corner: Tensor, layout: GridLayout, level: int) -> Tensor:
    """Integer corners (P, 3) of one level to rows of the whole table (P,)."""
    x, y, z = corner.unbind(-1)
    if layout.is_dense(level):
        side = layout.resolutions[level] + 1
        return layout.offsets[level] + x + y * side + z * side * side
    hashed = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
    return layout.offsets[level] + (hashed & (layout.table_size - 1))


def encode_torch(positions: Tensor, table: Tensor, layout: GridLayout) -> Tensor:
    """Trilinear interpolation of the 8 corners at every level, concatenated.

    positions: (P, 3) in [0, 1]. table: (rows, features). Returns (P, levels * features). Differentiable in both.
    """
    encoded = []
    for level, resolution in enumerate(layout.resolutions):
        scaled = positions * resolution
        cell = scaled.detach().floor().clamp(0, resolution - 1)
        fraction = scaled - cell
        cell = cell.long()
        total = torch.zeros(len(positions), layout.features, dtype=table.dtype, device=table.device)
        for bits in itertools.product((0, 1), repeat=3):
            offset = _offset(bits, positions.device)
            weight = torch.where(offset.bool(), fraction, 1 - fraction).prod(dim=-1, keepdim=True)
            total = total + weight * table[corner_rows(cell + offset, layout, level)]
        encoded.append(total)
    return torch.cat(encoded, dim=-1)


@cache
def _offset(bits: tuple[int, ...], device: torch.device) -> Tensor:
    """A corner's offset (3,): brought to the device once, since a CUDA graph must not."""
    return torch.tensor(bits, device=device)
