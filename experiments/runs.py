"""What studies whose rows are whole runs have in common: a JSON file for each row on each scene,
and the table of their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import qnerf
from qnerf.common.files import DamagedFile, read_json, write_json
from qnerf.runs.pipeline import run

RESULTS: str = "results"
"""The folder of these files, in a study's folder. Several processes may work in one."""

Measured = Sequence[Mapping[str, Any]]


def result(folder: Path, row: str, scene: str) -> Path:
    """Where the figures of a row on a scene lie."""
    return folder / RESULTS / f"{row.replace(', ', '_').replace(' ', '')}-{scene}.json"


def measure(path: Path, row: str, number: int, words: Sequence[str], figures_of: Callable[[Path], Mapping[str, float]]) -> None:
    """Runs the overrides `words`, and writes the figures of the run's folder to `path`, as those of
    scene `number`."""
    found = run(qnerf.Settings.compose(*words), f"python -m qnerf.run {' '.join(words)}")
    write_json(path, {"row": row, "image": str(number), "folder": str(found), **figures_of(found)})


def read_finished(run_folder: Path, name: str) -> Any:
    """A JSON file of a finished run. Raises UserError where the file is missing or damaged."""
    try:
        return read_json(run_folder / name)
    except DamagedFile as error:
        raise qnerf.UserError(f"{run_folder}: {error}, expected a finished run: delete the folder and measure again") from error


def read(path: Path) -> list[dict[str, Any]]:
    """All that has been measured."""
    return [read_json(file) for file in sorted(path.glob("*.json"))]


def means(found: Measured, rows: Iterable[str], figures: Mapping[str, str], digits: Mapping[str, int]) -> str:
    """Means over the scenes of each row that was measured, as Markdown. figures: the head of each
    one's column."""
    lines = [f"| edit | scenes | {' | '.join(figures.values())} |", "|---|---|" + "---|" * len(figures)]
    for name in rows:
        if some := [each for each in found if each["row"] == name]:
            lines.append(f"| {name} | {len(some)} | {' | '.join(mean_of(some, figure, digits) for figure in figures)} |")
    return "\n".join(lines)


def mean_of(some: Measured, figure: str, digits: Mapping[str, int]) -> str:
    """Over the scenes that have the figure, a dash where none has it. digits: after the point, 2
    where it says nothing."""
    values = [each[figure] for each in some if figure in each]
    return f"{mean(values):.{digits.get(figure, 2)}f}" if values else "-"
