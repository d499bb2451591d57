"""Keys and values of the source branch, kept between visits of the same denoising step.

The source branch does not depend on the edit: every method of a run, and the guided visit of a step after the look-ahead's,
reads the same ones. The cache holds as much as it may and no more: what does not fit is computed again.
"""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor

from qnerf.attention.layers import AttentionLayer

KeysValues = dict[AttentionLayer, tuple[Tensor, Tensor]]


class SourceCache:
    """A bounded store. limit_gib is set by the editor's settings."""

    def __init__(self, limit_gib: float = 0.0) -> None:
        self.free_bytes = limit_gib * 2**30
        self._kept: dict[Hashable, KeysValues] = {}

    def get(self, key: Hashable) -> KeysValues | None:
        return self._kept.get(key)

    def put(self, key: Hashable, value: KeysValues) -> None:
        size = sum(x.numel() * x.element_size() for pair in value.values() for x in pair)
        if key not in self._kept and size <= self.free_bytes:
            self._kept[key] = value
            self.free_bytes -= size
