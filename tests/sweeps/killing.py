"""Helpers: a sweep in a child of this process that is killed at a chosen write, or after a chosen time.

Children are forked from a process that has imported everything and computed nothing, so that a kill costs no import of torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import qnerf.runs.pipeline  # noqa: F401  # before the fork
from tests.sweeps.conftest import sweep

FORK = multiprocessing.get_context("fork")


def sweep_and_die(arguments: Sequence[str], write: int | None, log: Path) -> None:
    """In a child: the sweep, killed at its `write`-th flush to disk. log: where its words go."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    real, count = os.fsync, [0]

    def sync(handle: int) -> None:
        count[0] += 1
        if count[0] == write:
            os.kill(os.getpid(), signal.SIGKILL)
        real(handle)

    os.fsync = sync
    code = sweep(arguments)
    os._exit(code)


def killed_sweep(arguments: Sequence[str], log: Path, write: int | None = None, seconds: float | None = None) -> int:
    """Runs the sweep in a child; its exit code, which is -9 where it was killed. seconds: after which it is killed."""
    process = FORK.Process(target=sweep_and_die, args=(arguments, write, log))
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode if process.exitcode is not None else -1
