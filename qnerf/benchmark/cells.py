"""The cells of a finished benchmark: every method's figures on one scene under one grade of control."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qnerf.common.files import DamagedFile, read_json
from qnerf.errors import UserError
from qnerf.metrics.registry import FLOOR
from qnerf.reports.results import RESULTS, figures_by_method, read_record, read_rows
from qnerf.sweeps.command import COMMAND

REPEATED = {"scene.path", "control.detail", "seed"}
LEAST_WARP_ERROR = 1.5  # times the floor: below it, the independent edit leaves nothing to consolidate


@dataclass(frozen=True)
class BenchmarkCell:
    """detail: the grade of control. kind: of the scene's object. figures: of the output, by method, then by metric. as_decoded:
    likewise of the model's own pictures, where they were measured beside it. keeps_pixels: whether the output has pixels of the
    source; if not, it is the model's own pictures."""

    scene: str
    kind: str
    detail: str
    folder: Path
    figures: Mapping[str, Mapping[str, float]]
    as_decoded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    keeps_pixels: bool = False

    def excess(self, method: str, metric: str) -> float:
        """How far an error is above its floor, the same error of the true views; 0 where it has no floor."""
        figures = self.figures[method]
        return figures[metric] - figures.get(metric + FLOOR, 0.0)

    @property
    def is_inconsistent(self) -> bool:
        """Whether the warp error of the independent edit is large enough for consolidation to lower it."""
        figures = self.figures["independent"]
        return figures["warp_error_moved"] >= LEAST_WARP_ERROR * figures["warp_error_moved" + FLOOR]


def read_cells(*sweeps: Path) -> list[BenchmarkCell]:
    """The finished cells in the results.csv of sweeps; of cells with the same scene, grade and seed, the
    last.

    Raises UserError where there are none, where the independent edit is missing, or where the settings
    differ."""
    found: dict[tuple[str, str, str], BenchmarkCell] = {}
    for sweep in sweeps:
        found |= _read_sweep(sweep)
    _check_alike(sweeps)
    if len({cell.keeps_pixels for cell in found.values()}) > 1:
        raise UserError(
            f"{', '.join(map(str, sweeps))}: some cells keep pixels of the source in their output and others do not, expected one "
            "of the two, since their figures do not compare: give each kind by itself, or run one again with output.keep_pixels=…"
        )
    return list(found.values())


def _read_sweep(sweep: Path) -> dict[tuple[str, str, str], BenchmarkCell]:
    rows = [row for row in read_rows(sweep) if row["status"] == "done"]
    _check_swept(sweep)
    cells: dict[tuple[str, str, str], BenchmarkCell] = {}
    for row in [_named(row, read_record(sweep)["command"]) for row in rows]:
        key = (row["scene"], row["control.detail"], row.get("seed", ""))
        if key in cells:
            raise UserError(
                f"{sweep / RESULTS} has two cells with {', '.join(filter(None, key))}, expected one: "
                "give the scenes' folders different names."
            )
        cells[key] = _cell(row)
    if not cells:
        raise UserError(
            f"{sweep / RESULTS} has no finished cell, expected at least one: run the sweep first, "
            "`python -m qnerf.run -m +exp=benchmark`."
        )
    for cell in cells.values():
        if "independent" not in cell.figures:
            raise UserError(f"{cell.folder} has no independent edit to compare with: run the sweep with baselines=[independent].")
        if "warp_error_moved" not in cell.figures["independent"]:
            raise UserError(f"{cell.folder} has no figure warp_error_moved: use scenes with a known truth and metrics=default.")
    return cells


def _check_swept(sweep: Path) -> None:
    """Raises UserError for a sweep over other things than scenes, grades and seeds: their cells are no repetitions."""
    other = set(read_record(sweep)["swept"]) - REPEATED
    if other:
        raise UserError(
            f"{sweep} varies {', '.join(sorted(other))}, expected only {', '.join(sorted(REPEATED))}: sweep over these alone."
        )


def _check_alike(sweeps: Sequence[Path]) -> None:
    """Raises UserError where the cells of several sweeps differ in more than scene, grade and seed."""
    fixed = {sweep: {_fixed(cell["command"]) for cell in read_record(sweep)["cells"]} for sweep in sweeps}
    for sweep in sweeps[1:]:
        if fixed[sweep] != fixed[sweeps[0]]:
            first, other = (" or ".join(sorted(map(" ".join, fixed[which]))) for which in (sweeps[0], sweep))
            raise UserError(f"{sweep} was made with {other}, expected {first} as in {sweeps[0]}: give sweeps of one benchmark.")


def _fixed(command: str) -> tuple[str, ...]:
    """A cell's overrides that are not repetitions, in order of their keys."""
    overrides = command.removeprefix(COMMAND).strip()
    return tuple(sorted(o for o in shlex.split(overrides) if o.partition("=")[0].lstrip("+") not in REPEATED))


def _named(row: Mapping[str, str], command: str) -> dict[str, str]:
    """A row with its grade of control: where the sweep does not vary it, from the sweep's command or from the run folder."""
    given = [word.partition("=")[2] for word in shlex.split(command) if word.startswith("control.detail=")]
    try:
        detail = row.get("control.detail") or (given[-1] if given else None)
        detail = detail or read_json(Path(row["folder"]) / "metrics.json")["control_detail"]
    except DamagedFile as error:
        raise UserError(
            f"{row['scene']} has no grade of control, and {row['folder']} is gone: "
            "sweep over control.detail, or keep the run folders"
        ) from error
    return {**row, "control.detail": detail}


def _cell(row: Mapping[str, str]) -> BenchmarkCell:
    scene = row["scene"]
    kind = scene.rsplit("_", 1)[0]
    return BenchmarkCell(
        scene,
        "figure" if kind == "puppet" else kind,
        row["control.detail"],
        Path(row["folder"]),
        figures_by_method(row),
        figures_by_method(row, "methods_as_decoded"),
        bool(row.get("kept_share")),
    )
