"""A sweep as it goes, on a page of text that refreshes, also over ssh: `qnerf watch outputs/sweeps/smoke-1a2b3c4d`.

It reads folders alone, so that it works from any machine that sees them, and disturbs nothing. Ctrl-C ends it, not the sweep.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import UserError
from qnerf.run import USER_ERROR
from qnerf.runs.progress import format_seconds
from qnerf.sweeps.watching import Standing, say, standings

USAGE = "Usage: qnerf watch SWEEP_FOLDER [--once]   (the folder that holds sweep.json)"
EVERY = 2.0  # seconds between two pages on a terminal; elsewhere there is a page whenever a cell comes to its end
CLEAR = "\033[H\033[J"
BAR, ROWS = 24, 40


def main(arguments: Sequence[str]) -> int:
    """0: every cell is done, or the page was asked for once; 1: no cell works any more, and some are not done; 2: an error that the
    user can correct."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    folders, once = [word for word in arguments if word != "--once"], "--once" in arguments
    if len(folders) != 1:
        print(f"qnerf: expected one folder, got {len(folders)}. {USAGE}", file=sys.stderr)
        return USER_ERROR
    shown: Counter[str] | None = None
    try:
        while True:
            cells = standings(Path(folders[0]))
            counts = Counter(cell.state.status for cell in cells)
            if sys.stdout.isatty() and not once:
                print(CLEAR + page(cells, Path(folders[0]).name), flush=True)
            elif counts != shown:
                print(page(cells, Path(folders[0]).name), flush=True)
            shown = counts
            if once or counts["done"] == len(cells):
                return 0
            if not any(cell.works for cell in cells) and not counts["new"] + counts["partial"]:
                return 1
            time.sleep(EVERY)
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return 0


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
