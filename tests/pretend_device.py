"""A device that is not there: PyTorch's "meta" device, which computes shapes and placement but no values.

CI has no GPU. On the meta device an operation fails where its tensors lie on different devices, as on a GPU, so whole edits can be
run on it to see that everything is where it should be; the bytes of all living tensors can be counted, as a GPU's would be; and so
can what goes between host and device, each of which may make one wait for the other.
"""

from __future__ import annotations

import copy
import traceback
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, ClassVar
from unittest import mock

import torch
import torch._dynamo  # of its own accord PyTorch imports it in the middle of a step, and it needs the true `torch.Generator`
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

PRETENDED = torch.device("meta")
aten = torch.ops.aten
MASKED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
FROM_NUMBERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


@dataclass(frozen=True)
class Copy:
    """What went between host and device. way: "away" to the device, "home" from it; "number" and "mask" are read at home, and make
    the host wait. place: the line of this project that asked for it."""

    way: str
    shape: tuple[int, ...]
    place: str


class PretendDevice(TorchDispatchMode):
    """What the meta device cannot do for lack of values is answered: numbers are 1, what comes home rises from 0 to 1, and masks
    choose one element.

    used, peak: bytes of the tensors on the device, of those that were made in this mode. copies: between host and device, in order.
    """

    _shapes: ClassVar[dict[Any, Any]] = {}  # of operations on layouts, which are those of all such devices

    def __init__(self) -> None:
        super().__init__()
        self.used = self.peak = 0
        self.copies: list[Copy] = []
        self._known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (way := copies(func, args, kwargs)) is not None:
            moved = args[1] if func is aten.copy_.default else args[0]
            self.copies.append(Copy(way, tuple(moved.shape), asked_by()))
        out = self._answer(func, args, kwargs)
        given = {x.untyped_storage()._cdata for x in tensors_of(args, kwargs.values())}
        for tensor in tensors_of((out,)):
            if tensor.is_meta and tensor.untyped_storage()._cdata not in given:
                self._count(tensor.untyped_storage())
        return out

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        first = args[0] if args else None
        if isinstance(first, Tensor) and first.is_meta:
            if func is aten._local_scalar_dense.default:
                return 1.0 if first.dtype.is_floating_point else 1
            if func is aten._to_copy.default and torch.device(kwargs.get("device") or PRETENDED).type == "cpu":
                return rising(first).to(kwargs.get("dtype") or first.dtype)
            if func is aten.index.Tensor:
                args = (first, [one_of(i) if is_mask(i) else i for i in args[1]])
        if func is aten.copy_.default and isinstance(first, Tensor) and not first.is_meta and args[1].is_meta:
            return first.copy_(rising(args[1]))
        return self._known_shape(func, args, kwargs)

    def _known_shape(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`func(*args, **kwargs)`; what an operation gives for tensors such as these is only worked out once, which is slow."""
        on_host = all(x.device.type == "cpu" for x in tensors_of(args, kwargs.values()))
        if on_host or changes_or_views(func):
            return func(*args, **kwargs)
        key = (func, form(args), form(tuple(kwargs.items())))
        if key not in self._shapes:
            self._shapes[key] = tree_map_only(Tensor, layout, func(*args, **kwargs))
        known = self._shapes[key]
        return known.empty() if isinstance(known, Layout) else tree_map_only(Layout, Layout.empty, known)

    def _count(self, storage: Any) -> None:
        if storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage
        self.used += storage.nbytes()
        self.peak = max(self.peak, self.used)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.used -= size


class NumbersSent(TorchFunctionMode):
    """Notes tensors that are made on the device of Python's numbers, which PyTorch hides from its other modes."""

    def __init__(self, copies: list[Copy]) -> None:
        super().__init__()
        self.copies = copies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in FROM_NUMBERS and out.is_meta and not any(isinstance(x, Tensor) and x.is_meta for x in args[-1:]):
            self.copies.append(Copy("away", tuple(out.shape), asked_by()))
        return out


@dataclass(frozen=True)
class Layout:
    """All there is to a tensor without values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def empty(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)


def layout(x: Tensor) -> Layout:
    return Layout(tuple(x.shape), x.stride(), x.dtype, x.device)


def tensors_of(*several: Any) -> Iterator[Tensor]:
    """Tensors among arguments or results; PyTorch's own walk, for any container, takes longer than all else here."""
    for values in several:
        for x in values:
            if isinstance(x, Tensor):
                yield x
            elif isinstance(x, tuple | list):
                yield from tensors_of(x)


def form(x: Any) -> Any:
    """What an operation's result depends on, to be looked up by: layouts in the place of tensors."""
    if isinstance(x, Tensor):
        return layout(x)
    return tuple(map(form, x)) if isinstance(x, tuple | list) else (type(x), x)


@cache
def changes_or_views(func: Any) -> bool:
    """Whether an operation writes to what it is given, or returns a part of it."""
    return func._schema.is_mutable or any(returned.alias_info for returned in func._schema.returns)


def copies(func: Any, args: Any, kwargs: Any) -> str | None:
    """Which way an operation copies between host and device, if it does."""
    first = args[0] if args else None
    if not isinstance(first, Tensor):
        return None
    if func is aten._to_copy.default:
        to_meta = torch.device(kwargs.get("device") or first.device).type == "meta"
        return None if to_meta == first.is_meta else "away" if to_meta else "home"
    if func is aten.copy_.default:
        return None if first.is_meta == args[1].is_meta else "away" if first.is_meta else "home"
    if not first.is_meta:
        return None
    if func is aten._local_scalar_dense.default:
        return "number"
    if func is aten.nonzero.default or (func in MASKED and any(map(is_mask, args[1]))):
        return "mask"
    at_home = [i for i in args[1] if isinstance(i, Tensor) and not i.is_meta] if func in MASKED else []
    return "away" if at_home else None


def asked_by() -> str:
    """The innermost line of qnerf that is being run."""
    frames = [frame for frame in traceback.extract_stack() if "/qnerf/" in frame.filename and "/tests/" not in frame.filename]
    return f"{frames[-1].filename.rsplit('/qnerf/', 1)[1]}:{frames[-1].lineno} {frames[-1].line}" if frames else "elsewhere"


def is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype is torch.bool


def rising(x: Tensor) -> Tensor:
    """Values for a tensor without any, from 0 to 1."""
    return torch.linspace(0, 1, x.numel()).view(x.shape)


def one_of(mask: Tensor) -> Tensor:
    """An index in the place of a mask, of whose true elements nothing is known."""
    return torch.zeros(1, dtype=torch.long, device=mask.device)


@contextmanager
def pretend_device() -> Iterator[PretendDevice]:
    """Random numbers and the fused optimiser, which PyTorch does not have there, are replaced too."""
    generator, adam = torch.Generator, torch.optim.AdamW

    def on_the_host(device: object = None) -> torch.Generator:
        return generator()

    def not_fused(*args: Any, fused: bool, lr: Any, **more: Any) -> torch.optim.Optimizer:
        return adam(*args, lr=1e-3, **more)

    with (
        mock.patch("torch.Generator", on_the_host),
        mock.patch("torch.optim.AdamW", not_fused),
        PretendDevice() as device,
        NumbersSent(device.copies),
    ):
        yield device


def moved(value: Any) -> Any:
    """A tensor, a module, or a data class or tuple of such, on the pretended device."""
    if isinstance(value, Tensor):
        return value.to(PRETENDED)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(PRETENDED)
    if isinstance(value, tuple):
        return tuple(moved(part) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: moved(getattr(value, field.name)) for field in fields(value) if field.init})
    return value
