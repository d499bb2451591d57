"""A tracker that notes what it is told, and settings of one that is not registered anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from qnerf.trackers.tracker import TrackedRun, TrackerSettings


class Noting:
    """failing: the name of the method that fails."""

    def __init__(self, failing: str | None = None) -> None:
        self.failing = failing
        self.told: list[tuple[Any, ...]] = []

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._do("log", dict(values), step)

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        self._do("live", dict(values), seconds)

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self._do("image", name, path.name, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._do("table", name, [[cell.name if isinstance(cell, Path) else cell for cell in row] for row in rows])

    def file(self, name: str, path: Path) -> None:
        self._do("file", name, path.name)

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        self._do("lineage", kind, identity, dict(about), [path.name for path in files], made)

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        self._do("finish", dict(summary), exit_code)

    def _do(self, *what: Any) -> None:
        self.told.append(what)
        if what[0] == self.failing:
            raise RuntimeError("boom")


class NotingSettings(TrackerSettings):
    """Every tracker that was built is in `built`."""

    name: Literal["noting"] = "noting"
    place: str = "here"
    failing: str | None = None
    built: ClassVar[list[Noting]] = []

    def destination(self, run: TrackedRun) -> str:
        return f"noting {self.place}"

    def build(self, run: TrackedRun) -> Noting:
        if self.failing == "start":
            raise RuntimeError("boom")
        self.built.append(Noting(self.failing))
        return self.built[-1]


def run_in(folder: Path, **more: Any) -> TrackedRun:
    return TrackedRun(folder, "abc123", {"seed": 0, "experiment": "ablation_layers"}, **more)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
