"""A device that is not there: PyTorch's "meta" device, which computes shapes and placement but no values.

CI has no GPU. On the meta device an operation fails where its tensors lie on different devices, as on a GPU, so whole edits can be
run on it to see that everything is where it should be; and the bytes of all living tensors can be counted, as a GPU's would be.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only

PRETENDED = torch.device("meta")
aten = torch.ops.aten


class PretendDevice(TorchDispatchMode):
    """What the meta device cannot do for lack of values is answered: numbers are 1, what comes home rises from 0 to 1, and masks
    choose one element.

    used, peak: bytes of the tensors on the device, of those that were made in this mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used = self.peak = 0
        self._shapes: dict[Any, Any] = {}
        self._known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = self._answer(func, args, kwargs)
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_meta and tensor.untyped_storage()._cdata not in given:
                self._count(tensor.untyped_storage())
        return out

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        first = args[0] if args else None
        if isinstance(first, Tensor) and first.is_meta:
            if func is aten._local_scalar_dense.default:
                return 1.0 if first.dtype.is_floating_point else 1
            if func is aten._to_copy.default and torch.device(kwargs.get("device") or PRETENDED).type == "cpu":
                return torch.linspace(0, 1, first.numel()).view(first.shape).to(kwargs.get("dtype") or first.dtype)
            if func is aten.index.Tensor:
                args = (first, [one_of(i) if i is not None and i.dtype is torch.bool else i for i in args[1]])
        return self._known_shape(func, args, kwargs)

    def _known_shape(self, func: Any, args: Any, kwargs: Any) -> Any:
        """`func(*args, **kwargs)`; what an operation gives for tensors such as these is only worked out once, which is slow."""
        on_host = all(x.device.type == "cpu" for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        if on_host or func._schema.is_mutable or any(returned.alias_info for returned in func._schema.returns):
            return func(*args, **kwargs)
        leaves, form = tree_flatten((args, kwargs))
        key = (func, form, *(layout(x) if isinstance(x, Tensor) else (type(x), x) for x in leaves))
        if key not in self._shapes:
            self._shapes[key] = tree_map_only(Tensor, layout, func(*args, **kwargs))
        return tree_map_only(Layout, Layout.empty, self._shapes[key])

    def _count(self, storage: Any) -> None:
        if storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage
        self.used += storage.nbytes()
        self.peak = max(self.peak, self.used)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size: int) -> None:
        self.used -= size


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


def one_of(mask: Tensor) -> Tensor:
    """An index in the place of a mask, of whose true elements nothing is known."""
    return torch.zeros(1, dtype=torch.long, device=mask.device)


@contextmanager
def pretend_device() -> Iterator[PretendDevice]:
    """Random numbers and the fused optimiser, which PyTorch does not have there, are replaced too."""
    generator, adam = torch.Generator, torch.optim.AdamW

    def on_the_host(device: object = None) -> torch.Generator:
        return generator()

    def not_fused(*args: Any, fused: bool, **more: Any) -> torch.optim.Optimizer:
        return adam(*args, **more)

    with (
        mock.patch("torch.Generator", on_the_host),
        mock.patch("torch.optim.AdamW", not_fused),
        PretendDevice() as device,
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
