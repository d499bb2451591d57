"""A finished sweep as its folder has it: results.csv (a row per cell), sweep.json (its command, what it swept).

The one reader of both, for pages, tables and scripts; `qnerf.sweeps.results` writes them and says what is in them.
Names of earlier versions are read as today's (`qnerf.common.renamed`).
"""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnerf.common import renamed
from qnerf.errors import UserError

RESULTS, SWEEP = "results.csv", "sweep.json"
MADE = "made"  # in sweep.json: which commits, weights and dates its finished cells are of
SECONDS_COLUMNS = ("seconds", "wall_seconds")
PLAIN_COLUMNS = ("scene", "seed", "identity", "folder", "status", *SECONDS_COLUMNS)
REASON_COLUMNS = ("reason", "error")  # why a cell failed, where the sweep says so


@dataclass(frozen=True)
class Cell:
    """One run of the sweep. settings: the swept values as text. metrics: finite figures alone. folder: none where it is gone."""

    scene: str
    seed: str
    identity: str
    status: str
    reason: str
    seconds: float | None
    folder: Path | None
    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    command: str


@dataclass(frozen=True)
class Sweep:
    """swept: every swept key's values in the sweep's order. metrics: the names of all figures, in the table's order."""

    name: str
    command: str
    swept: Mapping[str, Sequence[str]]
    metrics: Sequence[str]
    cells: Sequence[Cell]


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder. Raises UserError where one of its two files is missing or not what it should be."""
    document = read_record(folder)
    rows = read_rows(folder, renamed.is_soft_command(document["command"]))
    swept = {str(key): [str(value) for value in values] for key, values in document["swept"].items()}
    missing = [key for key in (*swept, "scene", "identity", "folder", "status") if key not in rows[0]]
    if missing:
        raise UserError(
            f"{folder / RESULTS} has no column {', '.join(missing)}, which is needed: run the "
            "sweep's command again (finished cells are not computed again)."
        )
    known = {*swept, *PLAIN_COLUMNS, *REASON_COLUMNS}
    columns = [key for key in rows[0] if key not in known]
    cells = [_cell(row, swept, columns, folder, document["command"]) for row in rows]
    metrics = [key for key in columns if any(key in cell.metrics for cell in cells)]
    swept = {key: _in_order([*map(unescaped, values)], [cell.settings[key] for cell in cells]) for key, values in swept.items()}
    return Sweep(folder.resolve().name, document["command"], swept, metrics, cells)


def unescaped(value: str) -> str:
    """A value as people read it: Hydra writes its own signs, such as the colon of `procedural:figure_101`, behind backslashes."""
    return re.sub(r"\\([\\()\[\]{}:=, \t])", r"\1", value)


def cell_command(command: str, values: Mapping[str, str]) -> str:
    """The command of one cell: the sweep's, without -m and with this cell's value of every swept key."""
    words = shlex.split(command)
    entry = next((i for i, word in enumerate(words) if "=" not in word and "qnerf" in word), 0) + 1  # python -m qnerf.run
    kept, left = words[:entry], dict(values)
    for word in words[entry:]:
        key = word.split("=", 1)[0]
        if key.lstrip("+") in values and "=" in word:
            kept.append(f"{key}={left.pop(key.lstrip('+'))}")
        elif word not in ("-m", "--multirun"):
            kept.append(word)
    return shlex.join([*kept, *(f"{key}={value}" for key, value in left.items())])


def _cell(row: Mapping[str, str], swept: Mapping[str, object], columns: Sequence[str], folder: Path, command: str) -> Cell:
    written = {key: row[key] for key in swept}
    figures = {key: number for key in columns if (number := _number(row[key])) is not None}
    return Cell(
        scene=row["scene"],
        seed=row.get("seed", ""),
        identity=row["identity"],
        status=row["status"],
        reason=next((row[key] for key in REASON_COLUMNS if row.get(key)), ""),
        seconds=_number(next((row[key] for key in SECONDS_COLUMNS if key in row), "")),
        folder=_find(row["folder"], folder),
        settings={key: unescaped(value) for key, value in written.items()},
        metrics=figures,
        command=cell_command(command, written),
    )


def run_places(path: str, sweep: Path) -> list[Path]:
    """Where a run folder may be that is named from where the sweep was started, which is here or above the sweep's folder. Where
    all of an output folder was copied or moved, it is beside the sweeps as before."""
    above = sweep.resolve().parents
    return [Path(path), *(parent / path for parent in [sweep.resolve(), *above]), above[1].joinpath(*Path(path).parts[-2:])]


def _find(path: str, sweep: Path) -> Path | None:
    return next((place for place in run_places(path, sweep) if path and (place / "config.yaml").is_file()), None)


def _in_order(declared: Sequence[str], seen: Sequence[str]) -> list[str]:
    """The declared values as results.csv writes them, then any that only results.csv has."""
    written = list(dict.fromkeys(seen))
    same = {value: next((s for s in written if s == value or _equal(s, value)), None) for value in declared}
    ordered = [s for s in same.values() if s is not None]
    return list(dict.fromkeys([*ordered, *written]))


def _equal(a: str, b: str) -> bool:
    x, y = _number(a), _number(b)
    return x is not None and x == y


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_rows(folder: Path, is_soft: bool = False) -> list[dict[str, str]]:
    """The rows of a sweep's results.csv as text, by column; is_soft: its guidance was soft in every cell.

    Raises UserError where it cannot be read or has no rows."""
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(_no_sweep(folder, RESULTS))
    try:
        with path.open(encoding="utf-8", newline="") as file:
            read = [{key: value or "" for key, value in row.items() if key is not None} for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}); expected the table of a sweep: give a sweep's folder.") from None
    rows = [{renamed.column(key, is_soft): value for key, value in row.items()} for row in read]
    if not rows:
        raise UserError(f"{path} has no rows; expected one for every cell: wait until a cell of the sweep is finished.")
    return rows


def figures_by_method(row: Mapping[str, str], where: str = "methods") -> dict[str, dict[str, float]]:
    """The finite figures of a row of results.csv (`<where>.<method>.<figure>`), by method and then by figure. where: "methods", of
    the output, or "methods_as_decoded", of the model's own pictures, which runs have that keep pixels of the source."""
    found: dict[str, dict[str, float]] = {}
    for key, text in row.items():
        value = _number(text)
        if key.startswith(f"{where}.") and value is not None:
            _, method, name = key.split(".", 2)
            found.setdefault(method, {})[name] = value
    return found


def read_record(folder: Path) -> dict[str, Any]:
    """A sweep's sweep.json: its command, what it swept, its cells. Raises UserError where it is none."""
    path = folder / SWEEP
    if not path.is_file():
        raise UserError(_no_sweep(folder, SWEEP))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); expected the record of a sweep: give a sweep's folder.") from None
    swept = document.get("swept") if isinstance(document, dict) else None
    if not isinstance(swept, dict) or not isinstance(document.get("command"), str) or not all(map(_is_list, swept.values())):
        raise UserError(f'{path} is not a sweep\'s record; expected {{"command": "…", "swept": {{"key": [values]}}}}.')
    return _under_new_names(document)


def _no_sweep(folder: Path, missing: str) -> str:
    """What a folder is that lacks a file of a sweep's, and which one to give."""
    wanted = f"expected the folder of a sweep, which has {SWEEP} and {RESULTS}"
    if not folder.is_dir():
        return f"{folder} {'is a file' if folder.exists() else 'does not exist'}; {wanted}: give one of outputs/sweeps/."
    if (folder / "config.yaml").is_file():
        return f"{folder} is the folder of one run; {wanted}: give one of outputs/sweeps/, or open the run's report.html."
    found = (path for depth in ("*", "sweeps/*") for path in folder.glob(f"{depth}/{SWEEP}"))
    inside = sorted(str(path.parent.relative_to(folder)) for path in found)
    if inside:
        more = ", …" if len(inside) > 3 else ""
        return f"{folder} is a folder of sweeps ({', '.join(inside[:3])}{more}); {wanted}: give one of these."
    return f"{folder} has no {missing}; {wanted}: give one of outputs/sweeps/."


def _under_new_names(record: dict[str, Any]) -> dict[str, Any]:
    """A sweep's record with the names of earlier versions replaced by today's."""
    is_soft = renamed.is_soft_command(record["command"])
    swept = {renamed.column(key, is_soft): values for key, values in record["swept"].items()}
    found = {**record, "command": renamed.command(record["command"]), "swept": swept}
    if "cells" in record:
        found["cells"] = [{**cell, "command": renamed.command(cell["command"])} for cell in record["cells"]]
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, list)
