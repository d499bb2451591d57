"""What a sweep leaves for people and programs: `results.csv`, a row per cell, and `sweep.json`, how it was made.

results.csv, in this order: a column per swept key (without its `+`; the value as on the command line); `scene` and `seed`, where
they are not swept themselves; `identity`; `folder`, the run folder; `status` (done | failed | partial | new); `reason` of a
failure; `wall_seconds` of the attempt that finished; then every number of the cell's metrics.json, nested keys joined by dots
(`methods.full.psnr_truth`). Where a cell has no such number its field is empty.

sweep.json: `command`, `swept`, `cells` and, of what is finished, `made`: the commits, weights and dates.
"""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from qnerf.common.files import DamagedFile, read_json, write_json, write_text
from qnerf.errors import UserError, explain_os_error
from qnerf.reports.results import MADE, RESULTS, SWEEP
from qnerf.runs.folder import MADE_OF
from qnerf.sweeps.cells import Cell, Grid
from qnerf.sweeps.command import COMMAND


def save_results(folder: Path, grid: Grid, command: str) -> None:
    """Both files. Raises UserError where the disk is full or the folder cannot be written."""
    try:
        write_results(folder, grid, command, COMMAND)
    except OSError as error:
        raise UserError(explain_os_error(error) or f"{folder}: the results cannot be written ({error.strerror})") from error


def write_results(folder: Path, grid: Grid, command: str, cell_command: str) -> None:
    """Both files, in the sweep's folder. cell_command: what the overrides of a cell follow to run it alone."""
    made = made_of(grid.cells)
    write_json(
        folder / SWEEP,
        {
            "command": command,
            "swept": {key: list(values) for key, values in grid.swept.items()},
            "cells": [
                {"identity": cell.identity, "folder": str(cell.folder), "command": f"{cell_command} {shlex.join(cell.overrides)}"}
                for cell in grid.cells
            ],
            **({MADE: made} if made else {}),
        },
    )
    write_text(folder / RESULTS, results_table(grid.cells, list(grid.swept)))


def made_of(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Commits, weights and dates of the finished cells, as far as they are known, each once."""
    marks = [cell.state().made for cell in cells]
    return {key: sorted({mark[key] for mark in marks if key in mark}) for key in MADE_OF if any(key in mark for mark in marks)}


def results_table(cells: Sequence[Cell], swept: Sequence[str]) -> str:
    """The text of results.csv."""
    rows = [{**_head(cell), **{key: cell.swept.get(key, "") for key in swept}} for cell in cells]
    figures = [dict(_figures(cell)) for cell in cells]
    columns = dict.fromkeys([*swept, *(key for row in rows for key in row), *(key for found in figures for key in found)])
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **found} for row, found in zip(rows, figures, strict=True))
    return buffer.getvalue()


def _head(cell: Cell) -> dict[str, Any]:
    state, metrics = cell.state(), _metrics(cell)
    return {
        "scene": metrics.get("scene") or Path(cell.settings.scene.path.removeprefix("asset:")).name,
        "seed": cell.settings.seed,
        "identity": cell.identity,
        "folder": str(cell.folder),
        "status": state.status,
        "reason": " ".join(state.reason.split()),
        "wall_seconds": "" if state.seconds is None else f"{state.seconds:.2f}",
    }


def _figures(cell: Cell) -> Iterator[tuple[str, float]]:
    return flatten(_metrics(cell)) if cell.state().status == "done" else iter(())


def _metrics(cell: Cell) -> Mapping[str, Any]:
    try:
        return read_json(cell.folder / "metrics.json")
    except DamagedFile:
        return {}


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested dictionaries under their dotted keys; truth values, lists and text are none."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield prefix, value
