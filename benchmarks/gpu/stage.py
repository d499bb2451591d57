"""A stage of `make gpu` as a process of its own: parts in order of value, each row written as soon as it is known."""

from __future__ import annotations

import argparse
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.results import RESULTS, append


@dataclass
class Stage:
    """out: the folder of what is kept. scratch: of what is not. seconds: how long the stage may take. toy: small sizes, any device.

    skip: parts that an earlier process of this stage began and did not survive.
    """

    out: Path
    scratch: Path
    seconds: float
    toy: bool
    skip: Sequence[str]

    def __post_init__(self) -> None:
        self.started = time.monotonic()
        self.reported: set[str] = set()

    @classmethod
    def from_command_line(cls) -> Stage:
        parser = argparse.ArgumentParser()
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--scratch", type=Path, required=True)
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--toy", action="store_true")
        parser.add_argument("--skip", nargs="*", default=[])
        return cls(**vars(parser.parse_args()))

    @property
    def left(self) -> float:
        """Seconds until the stage is stopped."""
        return self.seconds - (time.monotonic() - self.started)

    def report(
        self,
        row: str,
        value: float | None,
        note: str = "",
        parts: Mapping[str, float] | None = None,
        so_far: bool = False,
    ) -> None:
        """A row of the table. parts: what the value is made of, in any one unit. so_far: a later line of the row will follow."""
        line = {"row": row, "value": value, "note": note, "parts": dict(parts or {}), "so_far": so_far}
        append(self.out / RESULTS, line)
        self.reported.add(row)

    def part(self, name: str, rows: Sequence[str], needs: float, measure: Callable[[Stage], None]) -> None:
        """Runs one part, which fails alone: the rows that it has not reported say why.

        needs: seconds without which it is not begun.
        """
        if name in self.skip:
            return
        if self.left < needs and not self.toy:
            for row in rows:
                self.report(row, None, f"not begun: {self.left:.0f} s were left, it needs about {needs:.0f}")
            return
        append(self.out / RESULTS, {"begun": name, "rows": list(rows)})
        try:
            measure(self)
        except Exception as error:
            traceback.print_exc()
            for row in set(rows) - self.reported:
                self.report(row, None, f"failed: {reason(error)}")


class Listener(logging.Handler):
    """Keeps what is logged, as sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


@contextmanager
def said(name: str) -> Iterator[list[str]]:
    """What the logger of this name says in the meantime: why work is not recorded, for a row's note."""
    logger, listener = logging.getLogger(name), Listener()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield listener.sentences
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


def reason(error: Exception) -> str:
    """The kind of an error and the first line of its message, fit for a cell of a table."""
    text = (str(error).splitlines() or [""])[0].replace("|", "/")
    return f"{type(error).__name__}: {text[:160]}"
