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


def as_stored(table: Tensor, stored: torch.dtype | None) -> Tensor:
    """The table with its values rounded to the type `stored` (None: its own), in float32 at least; gradients are not rounded."""
    if stored is None or stored == table.dtype:
        return table.to(torch.promote_types(table.dtype, torch.float32))
    return table + (table.to(stored).to(table.dtype) - table).detach()  # exact: the difference of neighbours is


def encode_torch(positions: Tensor, table: Tensor, layout: GridLayout, stored: torch.dtype | None = None) -> Tensor:
    """Trilinear interpolation of the 8 corners at every level, concatenated.

    positions: (P, 3) in [0, 1]. table: (rows, features). stored: the type in which the table's values are read, its own where None.
    Returns (P, levels * features), float32 for a table of half precision. Differentiable in both.
    """
    encoded, table = [], as_stored(table, stored)
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
