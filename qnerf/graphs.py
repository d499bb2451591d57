"""CUDA graphs: work on a GPU recorded once and replayed, so that its many small kernels need no launching one by one.

A replay runs the recorded kernels on the memory they were recorded with and nothing of Python: what is to differ between replays
must come in by way of that memory. A `Recorder` is what does it; tests put one for the CPU in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
SPARE = 0.1
"""Share of a GPU's memory that must be free for another recording to be made."""
COMPILED = 64
"""Versions of a function that may be compiled; PyTorch's own limit is 8, and passes with other edits are other versions."""


class Recorder(Protocol):
    """What records work on one device."""

    def aside(self) -> AbstractContextManager[None]:
        """Where work runs plainly that is to be recorded: all kernels and libraries must have been loaded there before."""
        ...

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Callable[[], T]:
        """Records `work()`, which may draw from `generator`: replays draw from the state that it is in by then. What comes back
        replays it, and gives the work's output in memory that every replay may write anew.

        Raises RuntimeError where the work cannot be recorded: it copies to or from the host, say.
        """
        ...

    def wait(self) -> None:
        """Until all work is done, for measurements."""
        ...


RecorderOf = Callable[[torch.device], Recorder | None]
"""The recorder for a device, None where work there is not to be recorded."""


class CudaRecorder:
    """All recordings share one pool of memory, so they need the largest one's and not the sum; one is replayed at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                yield
            current.wait_stream(self.stream)

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Callable[[], T]:
        free, total = torch.cuda.mem_get_info(self.device)
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        if free + idle < SPARE * total:
            raise RuntimeError(f"less than {SPARE:.0%} of the GPU's memory is free")
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        # A capture that fails leaves its stream the current one: `aside` puts the caller's back.
        with self.aside(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            output = work()

        def replay() -> T:
            graph.replay()
            return output

        return replay

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)


class Compiler:
    """torch.compile in a recorder's place: the work's own Python is traced once, and its operations are fused by a backend."""

    def __init__(self, device: torch.device, backend: str = "inductor") -> None:
        self.device, self.backend = device, backend

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Callable[[], T]:
        import torch._dynamo

        limit = max(torch._dynamo.config.recompile_limit, COMPILED)
        torch._dynamo.config.recompile_limit = limit
        compiled = torch.compile(work, backend=self.backend, dynamic=False)
        compiled()  # what cannot be compiled is to fail here
        return compiled

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def cuda_recorder(device: torch.device) -> Recorder | None:
    """CUDA graphs on a CUDA GPU, nothing elsewhere."""
    return CudaRecorder(device) if device.type == "cuda" else None


def never_record(device: torch.device) -> Recorder | None:
    """To run all work plainly: for measurements of its parts, and for comparison."""
    return None


def reason(error: BaseException) -> str:
    """The first line of an error's message, for a sentence in the log."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
