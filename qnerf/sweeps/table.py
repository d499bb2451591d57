"""What a sweep is about to do, in one table, and what it has done: which cells are done, partial, failed and new."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qnerf.reports.results import RESULTS, unescaped
from qnerf.runs.folder import RunState
from qnerf.sweeps.cells import Cell, Grid

OK, CELLS_MISSING = 0, 1


@dataclass(frozen=True)
class Row:
    """A cell and what is to be done about it. same_as: the number of an earlier cell with the same identity."""

    number: int
    cell: Cell
    state: RunState
    same_as: int | None
    is_run: bool


def plan_rows(grid: Grid, retry_failed: bool) -> list[Row]:
    """One row per cell, in order; of cells with one identity only the first is run."""
    first: dict[str, int] = {}
    rows = []
    for number, cell in enumerate(grid.cells, start=1):
        state, same_as = cell.state(), first.get(cell.identity)
        first.setdefault(cell.identity, number)
        wanted = state.status in ("partial", "new") or (state.status == "failed" and retry_failed)
        rows.append(Row(number, cell, state, same_as, wanted and same_as is None))
    return rows


def show_table(rows: Sequence[Row], keys: Sequence[str]) -> str:
    """The table as text, and a line that counts."""
    lines = [["cell", *keys, "identity", "state"]]
    lines += [
        [str(row.number), *(unescaped(row.cell.swept.get(key, "")) for key in keys), row.cell.identity, _words(row)] for row in rows
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    counts = Counter(row.state.status for row in rows)
    parts = ", ".join(f"{counts[status]} {status}" for status in ("done", "partial", "failed", "new") if counts[status])
    return "\n".join(
        [*text, f"{len(rows)} {'cell' if len(rows) == 1 else 'cells'}: {parts}; {sum(row.is_run for row in rows)} to run."]
    )


def _words(row: Row) -> str:
    status = row.state.status
    if row.same_as is not None:
        return f"{status}: the same run as cell {row.same_as}"
    if status == "done":
        return "done" if row.state.seconds is None else f"done in {row.state.seconds:.0f} s"
    if status == "failed":
        again = "run again" if row.is_run else "skipped (sweep.retry_failed=true runs it again)"
        return f"failed: {row.state.reason.splitlines()[0] if row.state.reason else 'unknown'}; {again}"
    return f"{status}: {row.cell.progress()}"


def sum_up(grid: Grid, folder: Path) -> int:
    """Prints how many cells are done, and why others are not. The sweep's exit code: 0 where every cell is done, else 1."""
    states = {cell.identity: cell.state() for cell in grid.cells}
    missing = [cell for cell in grid.cells if states[cell.identity].status != "done"]
    print(f"{len(grid.cells) - len(missing)} of {len(grid.cells)} cells are done: {folder / RESULTS}", flush=True)
    for cell in missing:
        state = states[cell.identity]
        print(
            f"qnerf: {state.status}: {' '.join(cell.overrides)}: {state.reason or 'run the same command to continue'}",
            file=sys.stderr,
        )
    return CELLS_MISSING if missing else OK
