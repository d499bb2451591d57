"""Sweeps in this process: what is shared, skipped, gone on with, and told."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnerf.common.files import read_json
from qnerf.config import parse
from qnerf.errors import UserError
from qnerf.run import CONFIGS
from qnerf.runs import inverting, methods, pipeline
from qnerf.runs.folder import RunFolder, state_of
from qnerf.schedules.look_ahead import LookAhead
from qnerf.store.prune import damaged
from qnerf.store.store import Store
from tests.sweeps.conftest import sweep

pytestmark = pytest.mark.integration

GRID = ("guidance.strength=.01,.02", "schedule.interval=1,2")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each costly function was called."""
    counted: Counter[str] = Counter()

    def count(module: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(module, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            counted[name] += 1
            return real(*arguments, **keywords)

        monkeypatch.setattr(module, name, call)

    for module, name in (
        (inverting, "invert_views"),
        (methods, "_compute"),
        (LookAhead, "_finish_interval"),
        (pipeline, "run"),
    ):
        count(module, name)
    return counted


def run(small: list[str], *overrides: str) -> int:
    return sweep(["-m", *small, *overrides])


def results(output: Path) -> list[dict[str, str]]:
    [path] = output.glob("sweeps/*/results.csv")
    return list(csv.DictReader(path.open()))


def test_a_grid_inverts_once_and_is_not_run_again(
    small: list[str], tmp_path: Path, calls: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, *GRID) == 0
    # Intervals end at 1, 2, 3 or at 2; nothing guides the first, so each interval length computes its first once.
    assert calls == {"invert_views": 1, "_compute": 4, "_finish_interval": (1 + 2 * 2) + 1, "run": 4}
    assert "4 cells: 4 new; 4 to run." in capsys.readouterr().out
    rows = results(tmp_path)
    assert [(row["guidance.strength"], row["schedule.interval"]) for row in rows] == [
        ("0.01", "1"), ("0.01", "2"), ("0.02", "1"), ("0.02", "2")
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["done"] * 4
    for row in rows:
        folder = Path(row["folder"])
        assert folder.name == row["identity"]
        metrics = read_json(folder / "metrics.json")
        assert float(row["psnr_truth"]) == metrics["psnr_truth"]
        assert float(row["methods.full.seconds"]) == metrics["methods"]["full"]["seconds"]
    [note] = tmp_path.glob("sweeps/*/sweep.json")
    assert json.loads(note.read_text())["swept"] == {"guidance.strength": ["0.01", "0.02"], "schedule.interval": ["1", "2"]}
    calls.clear()
    started = time.process_time()
    assert run(small, *GRID) == 0
    assert not calls
    assert time.process_time() - started < 5
    assert "4 cells: 4 done; 0 to run." in capsys.readouterr().out
    assert results(tmp_path) == rows


def test_another_metric_edits_nothing_again(small: list[str], calls: Counter[str]) -> None:
    assert run(small, "guidance.strength=.01,.02", "metrics.groups=[fidelity]", "schedule.interval=2") == 0
    calls.clear()
    assert run(small, "guidance.strength=.01,.02", "metrics.groups=[fidelity,consistency]", "schedule.interval=2") == 0
    assert calls == {"run": 2}


def test_a_failing_cell_is_told_at_once_and_stops_no_other(
    small: list[str], tmp_path: Path, calls: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("recorder.layers=[99],[10]", "schedule.interval=2")
    assert run(small, *grid) == 1
    told = capsys.readouterr()
    assert "recorder.layers=[99]" in told.err.split("failed: recorder.layers is [99]")[0]
    assert "1 of 2 cells are done" in told.out
    assert [row["status"] for row in results(tmp_path)] == ["failed", "done"]
    calls.clear()
    assert run(small, *grid, "sweep.retry_failed=false") == 1
    assert not calls
    assert "skipped (sweep.retry_failed=true runs it again)" in capsys.readouterr().out
    assert run(small, *grid) == 1
    assert calls == {"run": 1}


def test_a_broken_sweep_goes_on_at_the_last_finished_interval(
    small: list[str], tmp_path: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ("guidance.strength=.01", "schedule.interval=1")
    real = LookAhead._look_ahead

    def break_off(*arguments: Any) -> Any:
        if arguments[4] == 3:  # the third interval
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LookAhead, "_look_ahead", break_off)
        with pytest.raises(KeyboardInterrupt):
            run(small, *one)
    assert [row["status"] for row in results(tmp_path)] == ["partial"]
    calls.clear()
    capsys.readouterr()
    assert run(small, *one) == 0
    assert "partial: 3 of 13 stages ready, full at interval 2 of 4" in capsys.readouterr().out
    assert calls == {"run": 1, "_compute": 1, "_finish_interval": 1}
    resumed = results(tmp_path)[0]
    assert run([*small, f"output_dir={tmp_path / 'whole'}"], *one) == 0
    whole = results(tmp_path / "whole")[0]
    assert {key: value for key, value in resumed.items() if "seconds" not in key and key != "folder"} == {
        key: value for key, value in whole.items() if "seconds" not in key and key != "folder"
    }


@pytest.mark.parametrize("write", [3, 30])
def test_a_full_disk_is_one_sentence_and_leaves_earlier_results_whole(
    write: int, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, count = os.fsync, [0]

    def full(handle: int) -> None:
        count[0] += 1
        if count[0] >= write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    one = ("guidance.strength=.01", "schedule.interval=2")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="the disk is full; finished results are safe"):
            run(small, *one)
    assert "Traceback" not in capsys.readouterr().err
    assert list(damaged(Store(tmp_path / "store"))) == []
    assert run(small, *one) == 0


def test_a_cell_that_another_process_is_at_is_left_to_it(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("seed=0", "schedule.interval=2")
    assert run(small, *grid, "sweep.dry_run=true") == 0
    identity = capsys.readouterr().out.splitlines()[1].split()[1]
    with RunFolder(tmp_path / "articulation" / identity):
        assert run(small, *grid) == 1
    assert "is skipped, another process has it" in capsys.readouterr().err
    assert state_of(tmp_path / "articulation" / identity).status == "new"


def test_a_folder_that_may_not_be_written_is_one_sentence(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "articulation").write_text("a file in the folder's place")
    assert run(small, "schedule.interval=2", "seed=0") == 1
    assert "the run folder cannot be created" in capsys.readouterr().err


def test_cells_that_are_one_run_are_run_once(small: list[str], calls: Counter[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, "editor.source_cache_gib=0,1", "schedule.interval=2") == 0
    assert calls["run"] == 1
    assert "the same run as cell 1" in capsys.readouterr().out


def test_a_dry_run_runs_nothing(small: list[str], tmp_path: Path, calls: Counter[str]) -> None:
    assert run(small, *GRID, "sweep.dry_run=true") == 0
    assert not calls
    assert not list(tmp_path.iterdir())


def test_errors_of_all_cells_come_together_before_anything_starts(small: list[str], calls: Counter[str]) -> None:
    with pytest.raises(UserError) as caught:
        run(small, "guidance.strength=-1,.01,-2", "schedule.interval=2,9")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["guidance.strength", "schedule.interval", "guidance.strength"]
    assert not calls


def test_an_experiment_can_bring_its_grid(small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = shutil.copytree(CONFIGS, tmp_path / "conf")
    text = "# @package _global_\nhydra: {sweeper: {params: {guidance.strength: '.01,.02', schedule.interval: '1,2'}}}\n"
    (configs / "exp" / "grid.yaml").write_text(text)
    overrides = ["+exp=grid", "schedule.interval=2", "sweep.dry_run=true"]  # the command line has the last word
    assert sweep(["-m", *small, *overrides], configs) == 0
    assert "2 cells: 2 new" in capsys.readouterr().out


def test_settings_of_the_sweep_have_defaults() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", []))
    assert settings.sweep.retry_failed
    assert not settings.sweep.dry_run
