"""Data-parallel training: the processes that `torchrun -m qnerf.pretrain` starts share each batch and average their gradients."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed, nn


class Team:
    """This process's place among `size` training processes; alone, without torchrun, everything here is the identity.

    docs/embedded-backbone.md has what two processes gain over two threads on a CPU. Gradients travel by gloo, through host memory.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def part(self, indices: list[int]) -> list[int]:
        """This process's samples of a batch: every size-th."""
        return indices[self.rank :: self.size]

    def agree(self, value: float) -> float:
        """The leader's value, so that clocks that differ end the training at the same step."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, src=0)
        return float(shared)

    def average_gradients(self, modules: nn.Module) -> None:
        """Sets each gradient to its mean over the processes, in one message. One that is missing in some counts as 0 there."""
        if self.size == 1:
            return
        parameters = list(modules.parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        flat = torch.cat([there, *(gradient.flatten().cpu() for gradient in gradients)])
        distributed.all_reduce(flat)
        there, *parts = flat.split([len(parameters), *(gradient.numel() for gradient in gradients)])
        for parameter, gradient, part, count in zip(parameters, gradients, parts, there.tolist(), strict=True):
            if count:  # else it stays missing, and the optimiser leaves the parameter alone
                parameter.grad = gradient.copy_(part.view(gradient.shape)).div_(self.size)


@contextmanager
def team() -> Iterator[Team]:
    """The team that torchrun's environment (RANK, WORLD_SIZE) describes, else a team of one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    distributed.init_process_group("gloo")
    try:
        yield Team(distributed.get_rank(), size)
        distributed.barrier()  # the leader hosts what the others meet at, and must not leave first
    finally:
        distributed.destroy_process_group()
