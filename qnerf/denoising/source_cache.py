"""Keys and values of the source branch, kept between visits of the same denoising step.

The source branch does not depend on the edit: every method of a run, and the guided visit of a step
after the look-ahead's, reads the same ones. The cache holds as much as it may and no more, however many
views there are: what is gone is computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import torch

from qnerf.attention.edits import KeysValues
from qnerf.attention.layers import AttentionLayer


class SourceCache:
    """A bounded store that lets go of what was used longest ago: the look-ahead leaves behind what the
    guided visit reads.

    What comes new is copied into the memory of what goes, if it is of the same shape: given back and
    asked for anew at every step, it would leave holes in the process's memory. What `get` returned is
    therefore good until the next `put`. limit_gib: set by the editor's settings; what is larger by
    itself is not kept.
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
        room: KeysValues = {}
        while self._used + size_of(value) > self._limit:
            _, room = self._kept.popitem(last=False)
            self._used -= size_of(room)
        self._kept[key] = copied(value, room) if layouts(value) == layouts(room) else value
        self._used += size_of(value)


def size_of(value: KeysValues) -> int:
    """Bytes."""
    return sum(x.numel() * x.element_size() for pair in value.values() for x in pair)


def layouts(value: KeysValues) -> list[tuple[AttentionLayer, torch.Size, torch.dtype, torch.device]]:
    return [(layer, x.shape, x.dtype, x.device) for layer, pair in value.items() for x in pair]


def copied(value: KeysValues, room: KeysValues) -> KeysValues:
    """The value in the room's memory."""
    for layer, pair in value.items():
        for x, place in zip(pair, room[layer], strict=True):
            place.copy_(x)
    return room
