"""A sweep as it goes, on a page of text that refreshes, also over ssh: `qnerf watch outputs/sweeps/smoke-1a2b3c4d`.

It reads folders alone, so that it works from any machine that sees them, and disturbs nothing. Ctrl-C ends it, not the sweep.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import told_in_a_sentence
from qnerf.runs.progress import format_seconds
from qnerf.sweeps.watching import Standing, say, standings

EVERY = 2.0  # seconds between two pages on a terminal; elsewhere there is a page whenever a cell comes to its end
CLEAR = "\033[H\033[J"
BAR, ROWS = 24, 40


def main(arguments: Sequence[str]) -> int:
    """0: every cell is done, or the page was asked for once; 1: no cell works any more, and some are not done; 2: an error that the
    user can correct."""
    given = parser().parse_args(arguments)
    try:
        return told_in_a_sentence(lambda: _watch(given.folder, given.once))
    except KeyboardInterrupt:
        return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf watch", description="How far a sweep is, on a page that refreshes until it is done.")
    made.add_argument("folder", type=Path, metavar="SWEEP_FOLDER", help="the folder that holds sweep.json (outputs/sweeps/<name>)")
    made.add_argument("--once", action="store_true", help="print the page once, and stop")
    return made


def _watch(folder: Path, once: bool) -> int:
    shown: Counter[str] | None = None
    while True:
        began = time.monotonic()
        cells = standings(folder)
        counts = Counter(cell.state.status for cell in cells)
        if sys.stdout.isatty() and not once:
            print(CLEAR + page(cells, folder.resolve().name), flush=True)
        elif counts != shown:
            print(page(cells, folder.resolve().name), flush=True)
        shown = counts
        if once or counts["done"] == len(cells):
            return 0
        if not any(cell.works for cell in cells) and not counts["new"] + counts["partial"]:
            return 1
        time.sleep(max(EVERY, 5 * (time.monotonic() - began)))  # many cells are many folders


def page(cells: Sequence[Standing], name: str) -> str:
    """The whole page: what works first, then what failed, then the rest as far as there is room."""
    counts = Counter("working" if cell.works else cell.state.status for cell in cells)
    parts = ", ".join(f"{counts[each]} {each}" for each in ("working", "done", "failed", "partial", "new") if counts[each])
    order = {"failed": 1, "partial": 2, "new": 3, "done": 4}
    rows = sorted(cells, key=lambda cell: (0 if cell.works else order[cell.state.status], cell.number))
    hidden = len(rows) - ROWS
    more = [f"… and {hidden} more"] if hidden > 0 else []
    return "\n".join([f"{name}: {say(cells)} ({parts})", *(_line(cell) for cell in rows[:ROWS]), *more])


def _line(cell: Standing) -> str:
    return f"{cell.number:>4}  {_state(cell)}  {cell.words}"


def _state(cell: Standing) -> str:
    if cell.works:
        full = round(BAR * cell.fraction)
        left = "" if cell.seconds_left is None else f", {format_seconds(cell.seconds_left)} left"
        return f"[{'#' * full}{'.' * (BAR - full)}] {100 * cell.fraction:3.0f} % {cell.stage}{left}"
    if cell.state.status == "done":
        return "done" if cell.state.seconds is None else f"done in {format_seconds(cell.state.seconds)}"
    reason = f": {cell.state.reason.splitlines()[0]}" if cell.state.reason else ""
    return f"{cell.state.status}{reason}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
