"""Where a sweep stands: read from its folder and from the run folders of its cells alone, on this
machine or another."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnerf.common.files import DamagedFile, now_at, read_json
from qnerf.errors import UserError
from qnerf.reports.results import read_record, run_places, unescaped
from qnerf.runs.folder import OWNER, PROGRESS, RunState, state_of
from qnerf.runs.progress import format_seconds

# seconds without a sign of life after which a cell does not work any more; signs come every 5
SILENT_AFTER = 120.0
REREAD = 10.0  # seconds between two looks of a cell at its sweep, at least
LOOK = 50.0  # and so many times as long as the last look took


@dataclass(frozen=True)
class Standing:
    """One cell. number: from 1. words: its swept values. stage, fraction, seconds_left: of one that
    works; else None, 0, None."""

    number: int
    words: str
    folder: Path
    state: RunState
    stage: str | None = None
    fraction: float = 0.0
    seconds_left: float | None = None

    @property
    def works(self) -> bool:
        return self.stage is not None


def standings(sweep: Path) -> list[Standing]:
    """All cells of a sweep, each run once. Raises UserError where the folder is no sweep's."""
    record = read_record(sweep)
    cells, now = {cell["identity"]: cell for cell in record.get("cells", [])}.values(), now_at(sweep)
    return [_standing(number, cell, list(record["swept"]), sweep, now) for number, cell in enumerate(cells, start=1)]


def find_folder(path: str, sweep: Path) -> Path:
    """The run folder of a cell, which may not be there yet."""
    return next((place for place in run_places(path, sweep) if place.is_dir()), Path(path))


def words_of(command: str, swept: Sequence[str]) -> str:
    """The swept values in a cell's command, `key=value …`."""
    found = {word.split("=", 1)[0].lstrip("+"): word.lstrip("+") for word in shlex.split(command) if "=" in word}
    return " ".join(unescaped(found[key]) for key in swept if key in found)


def _standing(number: int, cell: Mapping[str, Any], swept: Sequence[str], sweep: Path, now: float) -> Standing:
    folder = find_folder(cell["folder"], sweep)
    state, words = state_of(folder), words_of(cell["command"], swept)
    if state.status == "done" or not _is_alive(folder, now):
        return Standing(number, words, folder, state)
    try:
        found = read_json(folder / PROGRESS)
        stage, fraction, left = str(found["stage"]), float(found["fraction"]), found["seconds_left"]
        left = None if left is None else float(left)
    except (DamagedFile, KeyError, TypeError, ValueError):
        stage, fraction, left = "starting", 0.0, None
    return Standing(number, words, folder, state, stage, fraction, left)


def _is_alive(folder: Path, now: float) -> bool:
    """Whether a run here has given a sign of life not long ago. now: by the clock of the disk,
    whatever this machine's says."""
    try:
        sign = max((folder / name).stat().st_mtime for name in (PROGRESS, OWNER) if (folder / name).exists())
    except (OSError, ValueError):
        return False
    return abs(now - sign) < SILENT_AFTER


def seconds_left(cells: Sequence[Standing]) -> float | None:
    """Until all cells are done. None as long as nothing tells what a cell takes.

    A cell that waits takes what done ones took in the mean, or, before the first is done, what the
    working ones will take. As many cells are taken to work at once as do now.
    """
    working = [cell for cell in cells if cell.works]
    waiting = [cell for cell in cells if not cell.works and cell.state.status in ("new", "partial")]
    left = [cell.seconds_left for cell in working if cell.seconds_left is not None]
    took = [cell.state.seconds for cell in cells if cell.state.status == "done" and cell.state.seconds is not None]
    if not took:
        took = [each.seconds_left / (1 - each.fraction) for each in working if each.seconds_left and 0.02 < each.fraction < 1]
    if (waiting and not took) or (working and not left):
        return None
    each = sum(took) / len(took) if took else 0.0
    return max([(sum(left) + each * len(waiting)) / max(len(working), 1), *left], default=0.0)


def say(cells: Sequence[Standing], number: int | None = None) -> str:
    """ "cell 3 of 48, 2 h 10 min left", or without a number "2 of 48 done, …"."""
    done = sum(cell.state.status == "done" for cell in cells)
    left = seconds_left(cells)
    where = f"{done} of {len(cells)} done" if number is None else f"cell {number} of {len(cells)}"
    return where if left is None or done == len(cells) else f"{where}, {format_seconds(left)} left for all"


def words_for(sweep: Path, identity: str, clock: Callable[[], float] = time.monotonic) -> Callable[[], str]:
    """What a cell says of its sweep. It is looked up now and then, the more seldom the longer a
    look takes: many cells are many folders. Where the sweep's folder cannot be read, the last words
    stand."""
    said, due = "", clock()

    def words() -> str:
        nonlocal said, due
        now = clock()
        if now >= due:
            with suppress(UserError, OSError):
                cells = standings(sweep)
                said = say(cells, next((cell.number for cell in cells if cell.folder.name == identity), None))
            due = clock() + max(REREAD, LOOK * (clock() - now))
        return said

    return words
