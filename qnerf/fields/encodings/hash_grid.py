"""The hash grid as a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.settings import EncodingSettings

INITIAL_SCALE = 1e-4
"""Table entries start uniform in ± this (instant-ngp, §4)."""
Encode = Callable[[Tensor, Tensor, GridLayout, torch.dtype], Tensor]
"""encode(positions, table, layout, stored): `encode_torch` or one that equals it."""


class HashGrid(nn.Module):
    """A table and one of the interchangeable functions that read it; its state does not depend on which."""

    def __init__(self, settings: EncodingSettings, encode: Encode, seed: int) -> None:
        super().__init__()
        layout = grid_layout(settings)
        self.layout, self.encode, self.width = layout, encode, layout.width
        self.stored: torch.dtype = getattr(torch, settings.table_dtype)
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter((torch.rand(layout.rows, layout.features, generator=generator) * 2 - 1) * INITIAL_SCALE)

    def forward(self, positions: Tensor) -> Tensor:
        """positions (P, 3) in [0, 1] to (P, width)."""
        return self.encode(positions, self.table, self.layout, self.stored)


class TinyCudaGrid(nn.Module):
    """The hash grid of tiny-cuda-nn, float32 output. Its layout is another (`layout.py`): states are not interchangeable."""

    def __init__(self, module: Any, settings: EncodingSettings, seed: int) -> None:
        super().__init__()
        ratio = settings.finest_resolution / settings.base_resolution
        options = {
            "otype": "HashGrid",
            "n_levels": settings.levels,
            "n_features_per_level": settings.features_per_level,
            "log2_hashmap_size": settings.log2_table_size,
            "base_resolution": settings.base_resolution,
            "per_level_scale": ratio ** (1 / max(settings.levels - 1, 1)),
        }
        self.grid = module.Encoding(3, options, seed=seed % 2**31, dtype=getattr(torch, settings.table_dtype))
        self.width = settings.levels * settings.features_per_level

    def forward(self, positions: Tensor) -> Tensor:
        """positions (P, 3) in [0, 1] to (P, width)."""
        return self.grid(positions).float()
