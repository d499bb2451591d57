"""How a run ends before its end: exit codes, and a SIGTERM that lets everything be closed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from qnerf.errors import UserError

FAILED, USER_ERROR, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Terminated(KeyboardInterrupt):
    """A SIGTERM, as a queue, `kill` or an agent of W&B sends it: like Ctrl-C, it stops a sweep too."""


def exit_code(error: BaseException) -> int:
    """That of a process which this error ends."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, Terminated):
        return TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return USER_ERROR if isinstance(error, UserError) else FAILED


@contextmanager
def termination() -> Iterator[None]:
    """Inside, a SIGTERM raises Terminated. A process that has a way of its own with it, such as a launcher's worker, keeps that."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it often comes twice, from `timeout` and to the group: let all be closed
        raise Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
