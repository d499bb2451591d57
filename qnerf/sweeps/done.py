"""Done cells told to the trackers that have not heard of them, so that a dashboard of a sweep has no holes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qnerf.reports.results import unescaped
from qnerf.runs.tracking import tell_of_finished
from qnerf.sweeps.cells import Cell


@dataclass(frozen=True)
class _Place:
    sweep: str
    label: str


def tell_of_done(cells: Iterable[Cell], folder: Path) -> None:
    """Those that are done, each once. folder: the sweep's."""
    for cell in {cell.identity: cell for cell in cells}.values():
        if cell.state().status == "done":
            label = " ".join(f"{key}={unescaped(value)}" for key, value in cell.swept.items())
            tell_of_finished(cell.settings, cell.folder, _Place(folder.name, label))
