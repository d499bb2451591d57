"""The leaderboard: a row a method with the commit, weights, date and command of its figures (docs/leaderboard.md).

Rows are of kept sweeps, and of records of `qnerf measure`, which anybody makes of a folder of pictures. Two rows stand in one table
only where the same was measured on the same: equal cells, equal pictures (with the source's pixels or without), and true views of
equal figures, or the same views of one capture. Rows are in alphabetical order, since no figure by itself says which method
is best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qnerf.benchmark.cells import BenchmarkCell, read_cells
from qnerf.benchmark.tables import METRICS, in_words, methods_of
from qnerf.common.files import DamagedFile, read_json
from qnerf.errors import UserError
from qnerf.metrics.registry import CEILING, FLOOR, metric_of, registered
from qnerf.reports.bootstrap import Interval, mean_interval
from qnerf.reports.results import MADE, SWEEP, read_record

MEASURED = "measure.json"
ByMethod = Mapping[str, Mapping[str, float]]  # the figures of a cell, by method and name
UNKNOWN, NONE = "not recorded", "–"
PIXELS = {True: "output, which keeps the source's pixels where nothing moves", False: "the model's own pictures"}
HEAD = """# Leaderboard

Methods of multi-view editing, measured. Written by `{command}`; the same command writes the same page.

- **Read every column.** Rows are in alphabetical order, not in that of a figure: an edit that changes nothing has the best
  geometry, blur raises held-out PSNR, and few matches make epipolar figures an accident
  ([which figure sees which fault](measuring.md#which-figure-sees-which-fault)).
- **The first row is the floor or ceiling**: what the true edited views reach, or, of figures that need no truth, the source
  views. “–”: the figure has none.
- **Compare within a table alone.** Another table has other scenes, other grades of control or other pictures.
- Values are means over cells with 95 % bootstrap intervals over scenes; with fewer than six scenes there is none, only
  their number (n). [Figures](metrics.md) says what each figure is, ↑ that more is better, ↓ that less is.
- `full` is the main method of its run, the default at its commit. `oracle` reads the true views, and `source` is no edit.
  Seconds are those of the edit of one scene, without inversion, source field and posing.
"""
HOW = """## How to add a row
Any method can have one, whoever wrote it: a folder of edited views of one scene is enough. Name the views like the source's
images, or bring cameras ([Measuring](measuring.md)).

1. Choose a scene on which there are rows already, so that yours stands beside them, and edit its views.
2. Measure them. `--method` names the row; `--commit` and `--weights` say what made the pictures.

```sh
qnerf measure <folder of edited views> --source procedural:<kind>_<seed> --truth <folder> \\
  --method <name> --commit <commit> --weights <revision or name> --out experiments/leaderboard/<name>_<scene>
```

3. Keep `measure.json` of that folder (the page beside it has the pictures, and need not be kept), and write this page again:
   the command at its top, with `experiments/leaderboard/<name>_<scene>` among its folders.

Records of the same scene, views and size come into one table. A method that is built into qnerf gets a row with intervals from a
sweep: run the command of a row with the method among `baselines=[…]`, and give the sweep's folder.
"""


@dataclass(frozen=True)
class Entry:
    """A row. figures: by name. seconds: of an edit, mean over cells. made: "commit", "weights" and "date", as far as known."""

    method: str
    figures: Mapping[str, Interval]
    seconds: float | None
    made: Mapping[str, str]
    command: str


@dataclass(frozen=True)
class Scope:
    """What rows share that stand in one table. title: of the table. about: a sentence on what was measured. key: by which equal
    ones are told. bounds: floors and ceilings by figure; fields that are trained on two machines differ a little in theirs."""

    title: str
    about: str
    key: tuple[str, ...]
    bounds: Mapping[str, float] = field(compare=False)

    def __or__(self, other: Scope) -> Scope:
        """With the bounds that only the other one has."""
        return replace(self, bounds={**other.bounds, **self.bounds})


def leaderboard(folders: Sequence[Path], command: str) -> str:
    """The page. folders: of sweeps, or with a measure.json. Raises UserError for one that is neither."""
    tables: dict[tuple[str, ...], tuple[Scope, list[Entry]]] = {}
    for folder in folders:
        for scope, entries in read_entries(folder):
            before, found = tables.get(scope.key, (scope, []))
            tables[scope.key] = (before | scope, [*found, *entries])
    parts = [HEAD.format(command=command)]
    for number, (scope, entries) in enumerate(tables.values(), 1):
        parts.append(f"## Table {number}: {scope.title}\n{scope.about}\n\n{table(scope, entries)}\n")
    return "\n".join([*parts, HOW])


def read_entries(folder: Path) -> Iterator[tuple[Scope, list[Entry]]]:
    """The rows that a folder gives, by table."""
    if (folder / SWEEP).is_file():
        yield from of_sweep(folder)
    elif (folder / MEASURED).is_file():
        yield of_record(folder / MEASURED)
    else:
        raise UserError(
            f"{folder} has neither {SWEEP} nor {MEASURED}, expected one of the two: give the folder of a sweep, or that which "
            "`qnerf measure … --out` wrote"
        )


def of_sweep(folder: Path) -> Iterator[tuple[Scope, list[Entry]]]:
    """The rows of a sweep: of its output and, where that keeps pixels of the source, of the model's own pictures too."""
    cells, record = read_cells(folder), read_record(folder)
    made = {key: ", ".join(values) for key, values in record.get(MADE, {}).items()}
    for kept in (True, False) if cells[0].keeps_pixels else (False,):
        figures = [cell.figures if kept == cell.keeps_pixels else cell.as_decoded for cell in cells]
        if all(figures):
            methods = sorted(methods_of(cells))
            methods = [method for method in methods if all(method in each for each in figures)]
            entries = [_entry(method, cells, figures, made, record["command"]) for method in methods]
            yield _scope(cells, figures, kept), entries


def _entry(
    method: str, cells: Sequence[BenchmarkCell], figures: Sequence[ByMethod], made: Mapping[str, str], command: str
) -> Entry:
    scenes, own = [cell.scene for cell in cells], [each[method] for each in figures]
    names = [name for name in METRICS if metric_of(name).better and all(name in each for each in own)]
    seconds = [cell.figures[method]["seconds"] for cell in cells if "seconds" in cell.figures[method]]
    means = {name: mean_interval([each[name] for each in own], scenes) for name in names}
    return Entry(method, means, sum(seconds) / len(seconds) if seconds else None, made, command)


def _scope(cells: Sequence[BenchmarkCell], figures: Sequence[ByMethod], kept: bool) -> Scope:
    details: dict[str, list[str]] = {}
    for cell in cells:
        details.setdefault(cell.scene, []).append(cell.detail)
    bounds: dict[str, float] = {}
    for name in METRICS:
        of_cells = [_bound(name, each) for each in figures]
        known = [value for value in of_cells if value is not None]
        bounds |= {name: sum(known) / len(known)} if known and len(known) == len(of_cells) else {}
    told = "; ".join(f"{scene} ({', '.join(sorted(found))})" for scene, found in sorted(details.items()))
    return Scope(
        f"{len(details)} scenes, {'source pixels kept' if kept else 'own pictures'}",
        f"{len(cells)} cells; of {PIXELS[kept]}. Scenes with their grades of control: {told}.",
        (str(kept), told, *(f"{name} {value:.3g}" for name, value in bounds.items())),
        bounds,
    )


def _bound(name: str, figures: ByMethod) -> float | None:
    """The figure of the true views of a cell, which is one for all methods."""
    ends = (FLOOR, CEILING)
    return next((own[name + end] for own in figures.values() for end in ends if name + end in own), None)


def of_record(path: Path) -> tuple[Scope, list[Entry]]:
    """The row of a record of `qnerf measure`. Raises UserError where it is none, or has no name of a method."""
    try:
        record = read_json(path)
    except DamagedFile as error:
        raise UserError(
            f"{path} cannot be read ({error}); expected a record of `qnerf measure`: measure the views again"
        ) from error
    wanted = {"truth", "geometry", "source", "views", "size", "capture", MADE, "command"}
    if not isinstance(record, dict) or wanted - set(record):
        raise UserError(
            f"{path} has not all that a row needs, expected {', '.join(sorted(wanted))}: measure the views again with today's "
            "`qnerf measure`"
        )
    found, source = ({name: value for name, value in figures.items() if value is not None} for figures in (
        {**record["truth"], **record["geometry"]}, record["source"],
    ))  # fmt: skip
    bounds = {name: found[name + end] for name in found for end in (FLOOR, CEILING) if name + end in found} | source
    shown = {name: one_scene(value) for name, value in found.items() if not name.endswith((FLOOR, CEILING)) and is_shown(name)}
    made = {key: value for key, value in record[MADE].items() if value}
    return _scope_of_record(record, bounds), [Entry(made.pop("method", path.parent.name), shown, None, made, record["command"])]


def _scope_of_record(record: Mapping[str, Any], bounds: Mapping[str, float]) -> Scope:
    capture, (width, height), views = record["capture"], record["size"], record["views"]
    return Scope(
        f"{capture['name']}, {len(views)} views",
        f"{len(views)} views of {width} x {height} pixels, by `qnerf measure`; capture `{capture['fingerprint']}`.",
        (capture["fingerprint"], f"{width}x{height}", *views),
        bounds,
    )


def is_shown(name: str) -> bool:
    """Whether a figure has a column: one that can be better or worse, or that the registry does not know (COLMAP's)."""
    return name not in registered() or metric_of(name).better is not None


def one_scene(value: float) -> Interval:
    """A figure of one scene, which says nothing of others."""
    return Interval(value, -math.inf, math.inf, 1)


def table(scope: Scope, entries: Sequence[Entry]) -> str:
    """The rows as Markdown, under that of the floors and ceilings."""
    seen = {name for entry in entries for name in entry.figures}
    names = [*(name for name in registered() if name in seen), *sorted(seen - set(registered()))]
    floors = [in_words(one_scene(scope.bounds[n]), n, True).partition(" ")[0] if n in scope.bounds else NONE for n in names]
    lines = [["method", *(_label(name) for name in names), "seconds", "commit", "weights", "date", "command"]]
    lines += [["*floor or ceiling*", *floors, *[NONE] * 5]]
    for entry in sorted(entries, key=lambda entry: entry.method):
        values = [in_words(entry.figures[name], name, True) if name in entry.figures else NONE for name in names]
        seconds = NONE if entry.seconds is None else f"{entry.seconds:.0f}"
        made = [entry.made.get("commit"), entry.made.get("weights")]
        told = [f"`{text}`" if text else UNKNOWN for text in made] + [entry.made.get("date", UNKNOWN)]
        lines.append([entry.method, *values, seconds, *told, f"`{entry.command}`"])
    rows = ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


def _label(name: str) -> str:
    metric = metric_of(name)
    arrow = {"higher": " ↑", "lower": " ↓", None: ""}[metric.better]
    return f"{metric.label}{arrow}{f', {metric.unit}' if metric.unit else ''}"
