"""Where time goes: functions are wrapped under a name, and what one calls of another counts for the inner one."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

ELSEWHERE = "elsewhere"


class Stopwatch:
    """seconds by name; what no wrapped function takes counts as `ELSEWHERE`. A GPU is waited for at every turn."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.running = [ELSEWHERE]
        self.last = time.perf_counter()

    def turn(self) -> None:
        """What has passed since the last turn goes to what has been running."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self.running[-1]] += now - self.last
        self.last = now

    def left(self) -> None:
        """A wrapped function has come back."""

    def timed(self, name: str, function: Callable[..., Any], within: str | None = None) -> Callable[..., Any]:
        """The function, its time under this name. within: only where what runs under that name calls it."""

        def inner(*arguments: Any, **keywords: Any) -> Any:
            if within is not None and self.running[-1] != within:
                return function(*arguments, **keywords)
            self.turn()
            self.running.append(name)
            try:
                return function(*arguments, **keywords)
            finally:
                self.turn()
                self.running.pop()
                self.left()

        return inner

    def patch(self, name: str, owner: Any, attribute: str, within: str | None = None) -> None:
        """Wrap a function where it is looked up: an attribute of a module or a class."""
        setattr(owner, attribute, self.timed(name, getattr(owner, attribute), within))
