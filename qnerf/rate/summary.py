"""What raters chose: the mean rank of every method, with intervals over raters.

A rater sees every two methods of a scene once. Among M methods the rank of one is 1 + the number of its rivals that were preferred
to it, a rival that was neither counting half: 1 is the best and M the worst. Intervals are the benchmark's bootstrap, over raters.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qnerf.errors import UserError
from qnerf.reports.bootstrap import LEAST_SCENES, Interval, mean_interval

COLUMNS = ("scene", "rater", "left", "right", "choice")
SHOWN = 12  # problems in one message
CHOICES = ("left", "neither", "right")
Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Rated:
    """ranks: mean rank by method, the best first. raters, scenes, choices: how many there are."""

    ranks: Mapping[str, Interval]
    raters: int
    scenes: int
    choices: int


def read_ratings(paths: Sequence[Path]) -> list[dict[str, str]]:
    """The rows of the pages' CSV files. Raises one UserError that names everything that is wrong with them."""
    problems: list[str] = []
    rows: list[dict[str, str]] = []
    seen: dict[tuple[str, ...], str] = {}
    for path in paths:
        for number, row in enumerate(_rows(path, problems), start=2):
            where = f"{path}: line {number}"
            if not row["rater"]:
                problems.append(f"{where} has no rater, expected a name or number: fill it in.")
            if row["choice"] not in CHOICES:
                problems.append(f"{where} has the choice {row['choice']!r}, expected one of {', '.join(CHOICES)}: correct it.")
            key = (row["scene"], row["rater"], *sorted((row["left"], row["right"])))
            if key in seen:
                problems.append(f"{where} asks what {seen[key]} asked already, expected each pair once a rater: remove one.")
            seen[key] = where
            rows.append(row)
    if not rows and not problems:
        problems.append(f"{', '.join(map(str, paths))}: no choices, expected some: give the files that raters saved.")
    _raise(problems)
    return rows


def summarise(rows: Rows) -> Rated:
    """Mean ranks. Raises UserError where a rater did not see every two methods of a scene: ranks of some pairs mean nothing."""
    every: dict[str, dict[str, list[Mapping[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        every[row["scene"]][row["rater"]].append(row)
    ranks: dict[str, list[tuple[str, float]]] = defaultdict(list)
    problems: list[str] = []
    for scene, by_rater in every.items():
        methods = sorted({row[side] for some in by_rater.values() for row in some for side in ("left", "right")})
        pairs = len(methods) * (len(methods) - 1) // 2
        for rater, some in by_rater.items():
            if len(some) != pairs:
                problems.append(f"{rater} chose in {len(some)} of the {pairs} pairs of {scene}: leave these out, or ask again.")
            for method in methods:
                ranks[method].append((rater, 1 + sum(_lost(row, method) for row in some)))
    _raise(problems)
    found = {method: mean_interval([rank for _, rank in some], [rater for rater, _ in some]) for method, some in ranks.items()}
    order = sorted(found, key=lambda method: found[method].value)
    raters = {row["rater"] for row in rows}
    return Rated({method: found[method] for method in order}, len(raters), len(every), len(rows))


def as_markdown(rated: Rated) -> str:
    """The table, and what it rests on."""
    few = rated.raters < LEAST_SCENES
    lines = ["| method | mean rank | 95 % |", "|---|---|---|"]
    lines += [f"| {name} | {r.value:.2f} | {'–' if few else f'{r.low:.2f} to {r.high:.2f}'} |" for name, r in rated.ranks.items()]
    counted = f"{rated.choices} choices by {rated.raters} raters on {rated.scenes} scenes; rank 1 is the best."
    return "\n".join([*lines, "", counted + (f" Intervals need {LEAST_SCENES} raters." if few else "")])


def _raise(problems: Sequence[str]) -> None:
    """Raises one UserError with a line for each of the first problems."""
    if problems:
        more = [f"and {len(problems) - SHOWN} more."] if len(problems) > SHOWN else []
        raise UserError("\n".join([*problems[:SHOWN], *more]))


def _lost(row: Mapping[str, str], method: str) -> float:
    """What a pair adds to a method's rank."""
    if method not in (row["left"], row["right"]):
        return 0.0
    return 0.5 if row["choice"] == "neither" else float(row[row["choice"]] != method)


def _rows(path: Path, problems: list[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{key: (value or "").strip() for key, value in row.items() if key is not None} for row in reader]
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"{path} cannot be read ({error}), expected the CSV file that the page saves: give the right path.")
        return []
    if missing:
        problems.append(f"{path} has no column {', '.join(missing)}, expected the CSV file that the page saves: give another.")
        return []
    return rows


def summary_of(paths: Sequence[Path]) -> Rated:
    """Of the files that raters saved. Raises UserError where something is wrong with them."""
    if not paths:
        raise UserError("--summary: no file given, expected the CSV files that raters saved.")
    return summarise(read_ratings(paths))
