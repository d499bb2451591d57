"""A CUDA graph's double on the CPU: every operation is written down with the memory and the Python values it was given, and
replayed on the same memory. What changes between replays and does not come in through that memory is frozen, as on a GPU; and
what a capture forbids is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from qnerf.graphs import Recorder

T = TypeVar("T")
aten = torch.ops.aten
WAITS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default}
HOST_DATA = {aten.lift_fresh.default, aten.lift_fresh_copy.default}


class Tape(TorchDispatchMode):
    """Runs operations and writes them down; `undo` then puts back all memory that was there before, as a capture runs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._made: dict[int, Tensor] = {}
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        masked = func is aten.index.Tensor and any(i is not None and i.dtype is torch.bool for i in args[1])
        if func in WAITS or masked:
            raise RuntimeError(f"{func} waits for the device, which a capture forbids")
        if func in HOST_DATA:
            raise RuntimeError(f"{func} copies from the host, which a capture forbids")
        if func._schema.is_mutable:
            for x in tree_leaves((args, kwargs)):
                if isinstance(x, Tensor) and self._key(x) not in self._made | self._before:
                    self._before[self._key(x)] = (x, x.detach().clone())
        out = func(*args, **kwargs)
        if not any(returned.alias_info for returned in func._schema.returns):
            made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
            self._made |= {self._key(x): x for x in made}
            self.operations.append((func, args, kwargs, made))
        elif func._schema.is_mutable:
            self.operations.append((func, args, kwargs, []))
        return out

    @staticmethod
    def _key(x: Tensor) -> int:
        return x.untyped_storage()._cdata

    @torch.no_grad()
    def undo(self) -> None:
        for x, value in self._before.values():
            x.copy_(value)
        for x in self._made.values():
            x.fill_(float("nan") if x.is_floating_point() else 0)

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, made in self.operations:
            out = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
            for place, value in zip(made, out, strict=False):
                place.copy_(value)


class TapeRecorder:
    """recorded: how many pieces of work. replayed: how often, all together. forget: an operation that goes unnoticed, as one on
    another stream would."""

    def __init__(self, forget: Any = None) -> None:
        self.recorded = self.replayed = 0
        self.forget = forget

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Callable[[], T]:
        state = None if generator is None else generator.get_state()
        with Tape() as tape:
            output = work()
        tape.undo()
        tape.operations = [operation for operation in tape.operations if operation[0] is not self.forget]
        if generator is not None and state is not None:
            generator.set_state(state)
        self.recorded += 1

        def replay() -> T:
            self.replayed += 1
            tape.replay()
            return output

        return replay

    def wait(self) -> None:
        pass

    def of(self, device: torch.device) -> Recorder:
        return self
