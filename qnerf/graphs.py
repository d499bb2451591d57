"""CUDA graphs: work on a GPU recorded once and replayed, so that its many small kernels need no launching one by one.

A replay runs the recorded kernels on the memory they were recorded with and nothing of Python: what is to differ between replays
must come in by way of that memory. A `Recorder` is what does it; tests put one for the CPU in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True)
class Recording(Generic[T]):
    """output: what the work returned, in memory that every replay writes anew."""

    output: T
    replay: Callable[[], None]


class Recorder(Protocol):
    """What records work on one device."""

    def aside(self) -> AbstractContextManager[None]:
        """Work runs plainly where recording will take place; by then all kernels and libraries must have been loaded there."""
        ...

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Recording[T]:
        """Records `work()`, which may draw from `generator`: replays draw from the state that it is in by then.

        Raises RuntimeError where the work cannot be recorded: it copies to or from the host, say.
        """
        ...


RecorderOf = Callable[[torch.device], Recorder | None]
"""The recorder for a device, None where work there is not to be recorded."""


class CudaRecorder:
    """All recordings share one pool of memory, so they need the largest one's and not the sum; one is replayed at a time, and its
    output must be copied or used up before another recording is replayed."""

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

    def record(self, work: Callable[[], T], generator: torch.Generator | None = None) -> Recording[T]:
        graph = torch.cuda.CUDAGraph()
        if generator is not None:
            graph.register_generator_state(generator)
        # A capture that fails leaves its stream the current one: `aside` puts the caller's back.
        with self.aside(), torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            output = work()
        return Recording(output, graph.replay)


def cuda_recorder(device: torch.device) -> Recorder | None:
    """CUDA graphs on a CUDA GPU, nothing elsewhere."""
    return CudaRecorder(device) if device.type == "cuda" else None


def never_record(device: torch.device) -> Recorder | None:
    """To run all work plainly: for measurements of its parts, and for comparison."""
    return None


def reason(error: BaseException) -> str:
    """The first line of an error's message, for a sentence in the log."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
