"""Doubles of a pass's edits for a recording of it: they read memory of their own, and leave what they record in memory of its own.

So the same recording serves every pass whose edits are of the same kinds, at the same layers, with tensors of the same shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qnerf.attention.hooks import AttentionEdit, Batch, EditedAttention
from qnerf.attention.layers import AttentionLayer


class Unrecordable(Exception):
    """A pass cannot be recorded; the message says why, to follow "since"."""


@dataclass(frozen=True)
class RecordedBatch(Batch):
    """The rows of a recorded pass. It serves many steps, so there is no number to read."""

    def __getattribute__(self, name: str) -> Any:
        if name == "step":
            raise RuntimeError("an edit reads the number of the step")
        return super().__getattribute__(name)


Processors = Mapping[AttentionLayer, EditedAttention]


def edits_of(processors: Processors) -> list[AttentionEdit]:
    """Each edit once, in order of appearance."""
    return list({id(edit): edit for p in processors.values() for edit in p.edits}.values())


def signature(processors: Processors) -> Hashable:
    """All of the edits that a recording fixes. Raises Unrecordable where one cannot be recorded."""
    edits = edits_of(processors)
    places = {id(edit): place for place, edit in enumerate(edits)}
    bound = tuple((layer, tuple(places[id(edit)] for edit in p.edits), fixed(p.batch.rows)) for layer, p in processors.items())
    return bound, tuple(_signature(edit) for edit in edits)


def _signature(edit: AttentionEdit) -> Hashable:
    if edit.reads is None:
        raise Unrecordable(f"{type(edit).__name__} does not say which tensors it reads (AttentionEdit.reads)")
    values = {name: value for name, value in vars(edit).items() if name not in (*edit.reads, *edit.leaves)}
    shapes = tuple((path, x.shape, x.dtype) for path, x in tensors(read_by(edit)))
    return type(edit), fixed(values), shapes


def read_by(edit: AttentionEdit) -> dict[str, Any]:
    return {name: getattr(edit, name) for name in edit.reads or ()}


def left_by(edit: AttentionEdit) -> dict[str, Any]:
    return {name: getattr(edit, name) for name in edit.leaves}


class Doubles:
    """The doubles of the edits that are bound by these processors."""

    def __init__(self, processors: Processors) -> None:
        edits = edits_of(processors)
        self.edits = [_double(edit) for edit in edits]
        twins = {id(edit): double for edit, double in zip(edits, self.edits, strict=True)}
        self.processors = {
            layer: _Double(layer, [twins[id(edit)] for edit in p.edits], RecordedBatch(-1, p.batch.rows))
            for layer, p in processors.items()
        }

    @contextmanager
    def bound(self, unet: nn.Module) -> Iterator[None]:
        """In the place of the processors of their layers."""
        modules: dict[AttentionLayer, Any] = {layer: unet.get_submodule(layer.path) for layer in self.processors}
        before = {layer: module.processor for layer, module in modules.items()}
        try:
            for layer, module in modules.items():
                module.processor = self.processors[layer]
            yield
        finally:
            for layer, module in modules.items():
                module.processor = before[layer]

    def read(self, processors: Processors) -> None:
        """Takes over what the edits read by now."""
        for double, edit in zip(self.edits, edits_of(processors), strict=True):
            for (_, place), (_, x) in zip(tensors(read_by(double)), tensors(read_by(edit)), strict=True):
                place.copy_(x)

    def clear(self) -> None:
        """Forgets what the last pass has left: all passes are to begin alike."""
        for double in self.edits:
            for name in double.leaves:
                setattr(double, name, {})

    def left(self) -> list[dict[str, Any]]:
        """What the doubles' stages have left, edit by edit."""
        return [left_by(double) for double in self.edits]

    @staticmethod
    def give(left: list[dict[str, Any]], processors: Processors) -> None:
        """Hands copies of what was left to the edits, and counts the call that was made for them."""
        for found, edit in zip(left, edits_of(processors), strict=True):
            for name, value in found.items():
                getattr(edit, name).update(like(value, Tensor.clone))
        for p in processors.values():
            p.calls += 1


class _Double(EditedAttention):
    """Counts no calls: a compiled pass would be compiled anew for every number."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        return self.attention(attn, hidden_states, encoder_hidden_states)


def _double(edit: AttentionEdit) -> AttentionEdit:
    double = copy(edit)
    for name, value in read_by(edit).items():
        setattr(double, name, like(value, torch.clone))
    return double


def tensors(value: Any, path: tuple[Hashable, ...] = ()) -> Iterator[tuple[tuple[Hashable, ...], Tensor]]:
    """The tensors in mappings and tuples, and where they are. Raises Unrecordable for anything else but None."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors(part, (*path, key))
    elif isinstance(value, tuple | list):
        for place, part in enumerate(value):
            yield from tensors(part, (*path, place))
    elif value is not None:
        raise Unrecordable(f"an edit reads a {type(value).__name__}, where tensors were expected")


def like(value: Any, make: Callable[[Tensor], Tensor]) -> Any:
    """The same mappings and tuples of other tensors."""
    if isinstance(value, Tensor):
        return make(value)
    if isinstance(value, Mapping):
        return {key: like(part, make) for key, part in value.items()}
    return None if value is None else tuple(like(part, make) for part in value)


def fixed(value: Any) -> Hashable:
    """A value that is part of the recording. Raises Unrecordable for a tensor, and for what cannot be compared."""
    if isinstance(value, Mapping):
        return tuple((key, fixed(part)) for key, part in value.items())
    if isinstance(value, tuple | list):
        return tuple(fixed(part) for part in value)
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    if isinstance(value, Tensor) or not isinstance(value, Hashable):
        raise Unrecordable(f"an edit keeps a {type(value).__name__} that it does not say it reads (AttentionEdit.reads)")
    return value
