"""results.csv and the table, on cells that were never run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from qnerf.common.files import write_json
from qnerf.config import parse
from qnerf.reports.results import MADE, read_record
from qnerf.run import CONFIGS
from qnerf.runs.folder import RunFolder, note_failure
from qnerf.runs.identity import Inputs
from qnerf.runs.stages import Stages
from qnerf.store.key import DONE, folder_of
from qnerf.sweeps.cells import Cell, Grid
from qnerf.sweeps.launch import quoted
from qnerf.sweeps.results import flatten, results_table, write_results
from qnerf.sweeps.sweep import sweep_folder
from qnerf.sweeps.table import plan_rows, show_table


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    cells = []
    for seed in ("0", "1", "2", "2"):
        overrides = ("experiment=ablation", "baselines=[]", f"seed={seed}", f"output_dir={tmp_path}")
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            settings = parse(compose("config", list(overrides)))
        stages = Stages(settings, Inputs("scene", "weights"))
        cells.append(Cell(overrides, {"seed": seed}, settings, stages.identity(), stages))
    return Grid(cells, {"seed": ["0", "1", "2", "2"]})


def finish(cell: Cell) -> None:
    with RunFolder(cell.folder) as folder:
        metrics = {"psnr_truth": 20.5, "scene": "puppet_a", "by_view": [1.0], "methods": {"full": {"psnr_truth": 20.5, "ok": True}}}
        write_json(cell.folder / "metrics.json", metrics)
        folder.mark_done("abc1234", "w")


def test_a_sweep_says_what_its_finished_cells_are_made_of(grid: Grid, tmp_path: Path) -> None:
    write_results(tmp_path, grid, "…", "…")
    assert MADE not in read_record(tmp_path)
    finish(grid.cells[0])
    finish(grid.cells[1])
    write_results(tmp_path, grid, "…", "…")
    assert {**read_record(tmp_path)[MADE], "date": []} == {"commit": ["abc1234"], "weights": ["w"], "date": []}


def test_a_row_per_cell_with_every_number(grid: Grid) -> None:
    finish(grid.cells[0])
    note_failure(grid.cells[1].folder, "out of memory")
    rows = list(csv.DictReader(io.StringIO(results_table(grid.cells, list(grid.swept)))))
    assert list(rows[0]) == [
        "seed", "scene", "identity", "folder", "status", "reason", "wall_seconds", "psnr_truth", "methods.full.psnr_truth"
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["done", "failed", "new", "new"]
    assert rows[1]["reason"] == "out of memory"
    assert [row["psnr_truth"] for row in rows] == ["20.5", "", "", ""]
    assert rows[0]["folder"] == str(grid.cells[0].folder)
    assert rows[0]["scene"] == rows[1]["scene"] == "puppet_a"


def test_the_table_says_what_will_be_done(grid: Grid) -> None:
    finish(grid.cells[0])
    note_failure(grid.cells[1].folder, "out of memory")
    partial = grid.cells[2]
    write_json(folder_of(partial.folder.parents[1] / "store", partial.stages.inversion()) / DONE, {})
    rows = plan_rows(grid, retry_failed=True)
    assert [row.is_run for row in rows] == [False, True, True, False]
    lines = show_table(rows, ["seed"]).splitlines()
    assert lines[0].split() == ["cell", "seed", "identity", "state"]
    assert lines[1].endswith("done in 0 s")
    assert lines[2].endswith("failed: out of memory; run again")
    assert "new: 1 of 17 stages ready" in lines[3]
    assert lines[4].endswith("the same run as cell 3")
    assert lines[5] == "4 cells: 1 done, 1 failed, 2 new; 2 to run."
    assert [row.is_run for row in plan_rows(grid, retry_failed=False)] == [False, False, True, False]


def test_a_sweep_has_one_folder_whatever_the_order_of_its_cells(grid: Grid) -> None:
    other = Grid(grid.cells[::-1], grid.swept)
    assert sweep_folder(grid) == sweep_folder(other)
    assert sweep_folder(grid).name.startswith("ablation-")
    assert sweep_folder(grid) != sweep_folder(Grid(grid.cells[:2], grid.swept))


def test_flattened_keys_are_joined_by_dots() -> None:
    found = dict(flatten({"a": {"b": 1, "c": {"d": 2.5}}, "e": "text", "f": [1], "g": None, "h": True}))
    assert found == {"a.b": 1, "a.c.d": 2.5}


def test_paths_are_quoted_for_hydra() -> None:
    assert quoted(Path("/a b/it's, here")) == r"'/a b/it\'s, here'"
