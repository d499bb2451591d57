"""The hash grid as a module, and the choice of its implementation."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qnerf.errors import UserError
from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.settings import EncodingName, EncodingSettings

INITIAL_SCALE = 1e-4
"""Table entries start uniform in ± this (instant-ngp, §4)."""


class HashGrid(nn.Module):
    """A table and one of the two interchangeable functions that read it; its state does not depend on which."""

    def __init__(self, layout: GridLayout, encode: Callable[[Tensor, Tensor, GridLayout], Tensor], seed: int) -> None:
        super().__init__()
        self.layout, self.encode, self.width = layout, encode, layout.width
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter((torch.rand(layout.rows, layout.features, generator=generator) * 2 - 1) * INITIAL_SCALE)

    def forward(self, positions: Tensor) -> Tensor:
        """positions (P, 3) in [0, 1] to (P, width)."""
        return self.encode(positions, self.table, self.layout)


class TinyCudaGrid(nn.Module):
    """The same grid by tiny-cuda-nn, float32 output. Its table has an order of its own: states are not interchangeable."""

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
        self.grid = module.Encoding(3, options, seed=seed % 2**31, dtype=torch.float32)
        self.width = settings.levels * settings.features_per_level

    def forward(self, positions: Tensor) -> Tensor:
        """positions (P, 3) in [0, 1] to (P, width)."""
        return self.grid(positions)


def load_tinycudann() -> Any | None:
    """The package, or None where it is missing or sees no GPU (its import then raises EnvironmentError, not ImportError)."""
    try:
        return importlib.import_module("tinycudann")
    except (ImportError, OSError):
        return None


def load_warp() -> Callable[[Tensor, Tensor, GridLayout], Tensor] | None:
    """The warp implementation, or None where warp-lang is not installed."""
    try:
        return importlib.import_module("qnerf.fields.encodings.fast").encode_warp
    except ImportError:
        return None


def build_encoding(settings: EncodingSettings, name: EncodingName, device: torch.device, seed: int) -> HashGrid | TinyCudaGrid:
    """The grid by the implementation of this name, on `device`. UserError where one that is asked for by name is not there."""
    if name == "tinycudann" or (name == "auto" and device.type == "cuda"):
        module = load_tinycudann() if device.type == "cuda" else None
        if module is not None:
            return TinyCudaGrid(module, settings, seed).to(device)
        if name == "tinycudann":
            raise UserError(
                f"field.encoding is 'tinycudann', but the package does not load or the device is {device.type} where "
                "it needs a CUDA GPU; install it from its git repository or set field.encoding=auto"
            )
    encode = load_warp() if name in ("auto", "warp") else encode_torch
    if encode is None and name == "warp":
        raise UserError(
            "field.encoding is 'warp', but warp-lang is not installed; pip install warp-lang or set field.encoding=auto"
        )
    return HashGrid(grid_layout(settings), encode or encode_torch, seed).to(device)
