"""Signs of life of a run: progress.json in its folder, live figures for trackers, and where the run
stands in its sweep.

`qnerf watch` and the other cells of a sweep read progress.json, on this machine or another.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from qnerf.runs.folder import PROGRESS
from qnerf.trackers.tracker import Tracker

EVERY = 5.0  # seconds between two signs
GIB, KIB = 2**30, 2**10


@dataclass(frozen=True)
class SweepPlace:
    """Of a cell: the name of its sweep, its swept values in words, and a function that says where
    the sweep stands, "cell 3 of 48, 2 h 10 min left"."""

    sweep: str
    label: str
    words: Callable[[], str]


class Standing(Protocol):
    """What is told of a run's progress."""

    stage: str
    losses: dict[str, float]

    def fraction(self) -> float: ...

    def remaining(self) -> float | None: ...


class Beat:
    """Called as often as the progress moves; acts every few seconds. folder: the run's. place: in a sweep."""

    def __init__(
        self, folder: Path, tracker: Tracker, place: SweepPlace | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.tracker, self.place = folder, tracker, place
        self._clock, self._began, self._last, self._words = clock, clock(), -EVERY, ""

    def __call__(self, run: Standing) -> str:
        """Words for the end of the progress line."""
        now = self._clock()
        if now - self._last < EVERY:
            return self._words
        self._last = now
        fraction, left = run.fraction(), run.remaining()
        note_progress(self.folder, run.stage, fraction, left)
        live = {"percent": 100 * fraction, "memory_gib": peak_memory()}
        live |= {} if left is None else {"seconds_left": left}
        live |= {f"{kind.replace(' ', '_')}_loss": loss for kind, loss in run.losses.items()}
        if torch.cuda.is_available():
            live["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / GIB
        self.tracker.live(live, now - self._began)
        words = self.place.words() if self.place else ""
        self._words = f" · {words}" if words else ""
        return self._words


def note_progress(folder: Path, stage: str, fraction: float, left: float | None) -> None:
    """Writes progress.json, not flushed to the disk: it is of use for seconds only."""
    seconds = None if left is None else round(left, 1)
    text = json.dumps({"stage": stage, "fraction": round(fraction, 4), "seconds_left": seconds, "process": os.getpid()})
    temporary = folder / f".{PROGRESS}"
    with suppress(OSError):  # a full disk is told by what needs it
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / PROGRESS)


def peak_memory() -> float:
    """GiB of this process at its peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / GIB
