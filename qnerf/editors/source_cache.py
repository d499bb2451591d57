"""Keys and values of the source branch, kept between visits of the same denoising step.

The source branch does not depend on the edit: every method of a run, and the guided visit of a step after the look-ahead's,
reads the same ones. The cache holds as much as it may and no more, however many views there are: what is gone is computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from torch import Tensor

from qnerf.attention.layers import AttentionLayer

KeysValues = dict[AttentionLayer, tuple[Tensor, Tensor]]


class SourceCache:
    """A bounded store that lets go of what was used longest ago: the look-ahead leaves behind what the guided visit reads.

    limit_gib: set by the editor's settings; what is larger by itself is not kept.
    """

    def __init__(self, limit_gib: float = 0.0) -> None:
        self._limit = limit_gib * 2**30
        self._used = 0
        self._kept: OrderedDict[Hashable, KeysValues] = OrderedDict()

    def get(self, key: Hashable) -> KeysValues | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Hashable, value: KeysValues) -> None:
        if key in self._kept or size_of(value) > self._limit:
            return
        self._kept[key] = value
        self._used += size_of(value)
        while self._used > self._limit:
            _, oldest = self._kept.popitem(last=False)
            self._used -= size_of(oldest)


def size_of(value: KeysValues) -> int:
    """Bytes."""
    return sum(x.numel() * x.element_size() for pair in value.values() for x in pair)
