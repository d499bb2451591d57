"""One bar over the whole run, with a remaining time that is learnt from the run itself.

The run's work is planned as counts of units of different kinds (a view through the UNet, a field
iteration …). The seconds that a unit of each kind takes are measured as the run goes; until the
first is done, a kind is assumed to take its prior weight times the pace seen so far. So: remaining
= Σ over kinds of (units left) × (seconds per unit). What a kind does first also compiles, loads and
allocates: once more is done of it, the first is left out of its pace, and until then no remaining
time is said, which could be a thousand times too long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from qnerf.errors import UserError, explain_memory_error
from qnerf.runs.logs import CONSOLE

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

PLAIN_LINE_EVERY = 15.0  # seconds between lines where there is no terminal


class Progress(Protocol):
    """Who is told how a computation gets on."""

    def enter(self, stage: str) -> None:
        """A stage begins. stage: what it does, in words."""
        ...

    def advance(self, kind: str, units: float = 1.0) -> None:
        """`units` of a kind of work are done ("encode", "invert", "source field", "pose", "unet", "field",
        "feedback", "decode" or "measure")."""
        ...

    def more(self, work: Mapping[str, float]) -> None:
        """It turns out that units of some kinds have to be done which were not planned."""
        ...

    def loss(self, kind: str, value: float) -> None:
        """The latest loss of a field that is being trained, by the kind of its work."""
        ...

    def field(self, method: str, step: int, r2: Mapping[str, float]) -> None:
        """A method has trained a query field on the queries of a step. r2: what it explains of
        them, by layer."""
        ...

    def clean(self, method: str, latents: Tensor, k: int) -> None:
        """The clean latents (V, 4, h, w) that the first views of a method's edit imply at step k."""
        ...

    def disagreement(self, method: str) -> Callable[[float, int], None] | None:
        """Who is told how far the first views' queries are from those that guide a step of a
        method's edit, 1 - R², and the step. None: nobody, so that it need not be measured."""
        ...

    def expecting(self, work: Mapping[str, float]) -> AbstractContextManager[None]:
        """Inside, `work` is done or found done. work: units by kind."""
        ...


class NoProgress:
    """Nobody is told."""

    def enter(self, stage: str) -> None:
        return

    def advance(self, kind: str, units: float = 1.0) -> None:
        return

    def more(self, work: Mapping[str, float]) -> None:
        return

    def loss(self, kind: str, value: float) -> None:
        return

    def field(self, method: str, step: int, r2: Mapping[str, float]) -> None:
        return

    def clean(self, method: str, latents: Tensor, k: int) -> None:
        return

    def disagreement(self, method: str) -> Callable[[float, int], None] | None:
        return None

    def expecting(self, work: Mapping[str, float]) -> AbstractContextManager[None]:
        return nullcontext()


class RunProgress:
    """Progress of a planned run. plan: units by kind. weights: rough relative cost of a unit of each kind."""

    def __init__(
        self, plan: Mapping[str, float], weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.left = dict(plan)
        self.weights = dict(weights)
        self.spent: dict[str, float] = dict.fromkeys(plan, 0.0)
        self.done: dict[str, float] = dict.fromkeys(plan, 0.0)
        self.first: dict[str, tuple[float, float]] = {}  # seconds and units of each kind's first advance
        self.stage = ""
        self.losses: dict[str, float] = {}  # of the fields that are being trained
        # told of every move; its words stand at the end of the line
        self.beat: Callable[[RunProgress], str] = lambda run: ""
        self.on_field: Callable[[str, int, Mapping[str, float]], None] = lambda method, step, r2: None
        self.on_clean: Callable[[str, Tensor, int], None] = lambda method, latents, k: None
        self.on_disagreement: Callable[[str, float, int], None] | None = None
        self._clock = clock
        self._last = self._last_line = clock()
        self._bar: Bar | None = None

    def __enter__(self) -> RunProgress:
        self._last = self._clock()
        if CONSOLE.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} % · {task.fields[eta]}"),
            )
            self._bar = Bar(*columns, console=CONSOLE)
            self._bar.add_task("", total=1.0, eta="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        if error is not None and (sentence := explain_memory_error(error)):
            raise UserError(f"{self.stage}: {sentence}") from error

    def enter(self, stage: str) -> None:
        """Names what is going on now. Time since the last advance belongs to no kind."""
        self.stage = stage
        self.losses.clear()
        self._last = self._clock()
        log.info("%s", stage)
        self._show()

    def advance(self, kind: str, units: float = 1.0) -> None:
        """`units` of a kind are done; the time since the last call is what they took."""
        now = self._clock()
        self.first.setdefault(kind, (now - self._last, units))
        self.spent[kind] = self.spent.get(kind, 0.0) + now - self._last
        self.done[kind] = self.done.get(kind, 0.0) + units
        self.left[kind] = max(self.left.get(kind, 0.0) - units, 0.0)
        self._last = now
        self._show()

    def more(self, work: Mapping[str, float]) -> None:
        """They are planned from now on."""
        for kind, units in work.items():
            self.left[kind] = self.left.get(kind, 0.0) + units

    def loss(self, kind: str, value: float) -> None:
        """Kept for whoever asks now and then."""
        self.losses[kind] = value

    def field(self, method: str, step: int, r2: Mapping[str, float]) -> None:
        """For whoever watches the run."""
        self.on_field(method, step, r2)

    def clean(self, method: str, latents: Tensor, k: int) -> None:
        """Likewise. What is made of them is not the work's time."""
        started = self._clock()
        self.on_clean(method, latents, k)
        self._last += self._clock() - started

    def disagreement(self, method: str) -> Callable[[float, int], None] | None:
        """For whoever watches the run."""
        return None if self.on_disagreement is None else partial(self.on_disagreement, method)

    def skip(self, kind: str, units: float) -> None:
        """Planned units that need not be done, because their result is on disk."""
        self.left[kind] = max(self.left.get(kind, 0.0) - units, 0.0)
        self._last = self._clock()

    @contextmanager
    def expecting(self, work: Mapping[str, float]) -> Iterator[None]:
        """Inside, the planned `work` (units by kind) is done; what was not is skipped, since its
        result was in the store."""
        before = dict(self.left)
        yield
        for kind, units in work.items():
            done = before.get(kind, 0.0) - self.left.get(kind, 0.0)
            if units > done:
                self.skip(kind, units - done)

    def _paced(self, kind: str) -> tuple[float, float]:
        """Seconds and units of a kind after its first advance; with it where there is no other."""
        spent, done = self.spent.get(kind, 0.0), self.done.get(kind, 0.0)
        seconds, units = self.first.get(kind, (0.0, 0.0))
        return (spent - seconds, done - units) if done > units else (spent, done)

    def _warm(self) -> list[str]:
        """The kinds of which more is done than what came first."""
        return [kind for kind, (_, units) in self.first.items() if self.done[kind] > units]

    def seconds_per_unit(self, kind: str) -> float:
        """Measured, or (before the first unit) guessed from the kind's weight and the pace of the
        other kinds."""
        if self.done.get(kind):
            seconds, units = self._paced(kind)
            return seconds / units
        others = [(name, *self._paced(name)) for name in self._warm() or self.done]
        weighed = sum(units * self.weights.get(name, 1.0) for name, _, units in others)
        return self.weights.get(kind, 1.0) * (sum(seconds for _, seconds, _ in others) / weighed if weighed else 0.0)

    def remaining(self) -> float | None:
        """Seconds until the end of the run. None while all that was done came first of its kind and
        anything is left."""
        if any(self.left.values()) and not self._warm():
            return None
        return sum(units * self.seconds_per_unit(kind) for kind, units in self.left.items())

    def fraction(self) -> float:
        """The part of the expected time that has passed, 0 … 1."""
        spent, remaining = sum(self.spent.values()), self.remaining()
        return spent / (spent + remaining) if remaining is not None and spent + remaining > 0 else 0.0

    def _show(self) -> None:
        left = self.remaining() if any(self.done.values()) else None
        eta = "…" if left is None else f"{format_seconds(left)} left"
        eta += self.beat(self)
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=self.fraction(), description=self.stage, eta=eta)
        elif self._clock() - self._last_line >= PLAIN_LINE_EVERY:
            self._last_line = self._clock()
            log.info("%s: %.0f %% of the run, %s", self.stage, 100 * self.fraction(), eta)


def format_seconds(seconds: float) -> str:
    """85 -> '1 min 25 s'; 3900 -> '1 h 05 min'."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
