"""A search with Optuna: what it proposes is run once, found again by the same command, and better than its neighbours."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins

from qnerf.common.files import write_json
from qnerf.common.installation import install_command
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.run import main
from qnerf.runs import pipeline
from qnerf.runs.folder import RunFolder
from qnerf.runs.identity import read_inputs, run_folder
from qnerf.runs.stages import Stages
from qnerf.sweeps.objectives import value_for_hydra
from tests.sweeps.conftest import sweep

SPACE = ("guidance.strength=tag(log,interval(0.001,0.1))", "schedule.interval=1,2")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Runs that compute nothing but figures of their settings: agreement and fidelity pull the strength apart. Counts runs."""
    counted: Counter[str] = Counter()

    def run(settings: RunSettings, command: str, place: object = None) -> Path:
        identity = Stages(settings, read_inputs(settings)).identity()
        counted[identity] += 1
        strength, interval = math.log10(getattr(settings.guidance, "strength", 1)), getattr(settings.schedule, "interval", 0)
        if strength < -2.9:
            raise UserError("too weak")
        with RunFolder(run_folder(settings, identity)) as folder:
            figures = {"warp_error_moved": abs(strength + 1) + interval, "psnr_object": 20 - (strength + 2) ** 2 - interval}
            write_json(folder.path / "metrics.json", {**figures, "scene": "made up"})
            folder.mark_done()
        return folder.path

    monkeypatch.setattr(pipeline, "run", run)
    return counted


def search(small: Sequence[str], *overrides: str) -> int:
    pytest.importorskip("optuna")
    return sweep(["-m", *small, "hydra/sweeper=optuna", *overrides])


def rows_of(output: Path) -> list[dict[str, str]]:
    [path] = output.glob("sweeps/*/results.csv")
    return list(csv.DictReader(path.open()))


def test_a_search_comes_nearer_to_the_best_than_chance(small: list[str], tmp_path: Path, made_up: Counter[str]) -> None:
    one = ("sweep.objectives=[psnr_object]", "hydra.sweeper.trials=20", *SPACE)
    assert search(small, *one, "guidance.strength=tag(log,interval(0.002,0.1))") == 0
    rows = rows_of(tmp_path)
    strengths = [math.log10(float(row["guidance.strength"])) for row in rows]
    assert abs(sorted(strengths[-8:])[4] + 2) < 0.3, "late trials are near the best strength, 0.01"
    assert [row["schedule.interval"] for row in rows[-8:]].count("1") >= 5
    assert max(made_up.values()) == 1


@pytest.mark.slow
def test_the_same_command_finds_what_is_done_and_more_trials_lengthen_it(
    small: list[str], tmp_path: Path, made_up: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    space = (*SPACE, "guidance.strength=tag(log,interval(0.002,0.1))")
    assert search(small, *space, "hydra.sweeper.trials=7") == 0
    first, told = rows_of(tmp_path), capsys.readouterr().out
    assert search(small, *space, "hydra.sweeper.trials=7") == 0
    assert (rows_of(tmp_path), capsys.readouterr().out) == (first, told)
    assert search(small, *space, "hydra.sweeper.trials=9", "sweep.dry_run=true") == 0
    assert "7 trials are done; next: guidance.strength=0.0" in capsys.readouterr().out
    assert set(made_up.values()) == {1}
    assert search(small, *space, "hydra.sweeper.trials=9") == 0
    longer = rows_of(tmp_path)
    assert longer[: len(first)] == first
    assert len(longer) > len(first)
    assert set(made_up.values()) == {1}
    [note] = tmp_path.glob("sweeps/*/sweep.json")
    strengths = json.loads(note.read_text())["swept"]["guidance.strength"]
    assert strengths == sorted(strengths, key=float)


def test_the_front_is_what_results_csv_says(
    small: list[str], tmp_path: Path, made_up: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    space = (*SPACE, "guidance.strength=tag(log,interval(0.002,0.1))")
    assert search(small, *space, "hydra.sweeper.trials=8", "hydra.sweeper.sampler=random", "hydra.sweeper.batch=3") == 0
    listed = capsys.readouterr().out.split("The best trials (no other is better in every objective):\n")[1].splitlines()
    found = {(float(row["warp_error_moved"]), -float(row["psnr_object"])): row["guidance.strength"] for row in rows_of(tmp_path)}
    front = {s for p, s in found.items() if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in found)}
    assert {line.split()[0] for line in listed if line.startswith("  ")} == {f"guidance.strength={s}" for s in front}


def test_a_trial_that_fails_is_told_stops_no_other_and_makes_the_exit_code_1(
    small: list[str], tmp_path: Path, made_up: Counter[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert search(small, *SPACE, "guidance.strength=0.001,0.01", "hydra.sweeper.trials=8", "hydra.sweeper.sampler=random") == 1
    told = capsys.readouterr()
    assert "failed: too weak" in told.err
    assert "guidance.strength=0.001 schedule.interval=1: no figures" in told.out
    assert {row["status"] for row in rows_of(tmp_path)} == {"failed", "done"}
    assert max(made_up.values()) == 1, "a trial that failed is not tried again by the same command"


def test_a_figure_that_runs_do_not_measure_ends_the_search_at_the_first(small: list[str], made_up: Counter[str]) -> None:
    with pytest.raises(UserError, match=r"sweep.objectives: .*metrics.json has no heldout_psnr"):
        search(small, *SPACE, "guidance.strength=.01,.02", "sweep.objectives=[heldout_psnr]")
    assert sum(made_up.values()) == 1


def test_every_error_comes_before_anything_starts(small: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        search(small, "guidance.strength=interval(-1,0.1)", "schedule.interval=2,9")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["guidance.strength", "schedule.interval"]
    with pytest.raises(UserError, match=r"sweep.objectives: psnr_objct: this is not a figure .* nearest valid: psnr_object"):
        search(small, *SPACE, "sweep.objectives=[psnr_objct]")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_one_sentence(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as if it were not there
    with pytest.raises(UserError) as caught:
        sweep(["-m", *small, "hydra/sweeper=optuna", *SPACE])
    assert f"hydra/sweeper=optuna needs a package that is not installed: {install_command('optuna')}" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_other_sweepers_of_hydra_are_given(tmp_path: Path) -> None:
    assert value_for_hydra(tmp_path, ["psnr_object"]) is None
    write_json(tmp_path / "metrics.json", {"psnr_object": 20.5, "warp_error_moved": 0.1, "heldout_psnr": None})
    assert value_for_hydra(tmp_path, ["psnr_object"]) == 20.5
    assert value_for_hydra(tmp_path, ["warp_error_moved", "psnr_object"]) == (0.1, 20.5)
    assert value_for_hydra(tmp_path, ["psnr_object", "heldout_psnr"]) is None


def test_a_run_hands_them_to_hydra_and_its_exit_code_stays_0(
    small: list[str], made_up: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[Any] = []
    sweeper = Plugins.instance().class_name_to_class["hydra._internal.core_plugins.basic_sweeper.BasicSweeper"]
    real: Any = getattr(sweeper, "sweep")  # noqa: B009  # of a class that is only known by its name

    def overhear(self: Any, arguments: list[str]) -> Any:
        found = real(self, arguments)
        returned.extend(job.return_value for batch in found for job in batch)
        return found

    monkeypatch.setattr(sweeper, "sweep", overhear)
    line = ["-m", *small, "hydra/sweeper=basic", "schedule.interval=1", "guidance.strength=.01,.1"]
    monkeypatch.setattr(sys, "argv", ["qnerf run", *line])
    main()  # raises SystemExit for any other exit code
    assert returned == [(2.0, 19.0), (1.0, 18.0)]


@pytest.mark.integration
def test_the_shipped_search_on_the_smallest_settings(small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna")
    smallest = (*small, "+exp=optuna_guidance", "schedule.interval=2", "hydra.sweeper.trials=3", "hydra.sweeper.startup=2")
    assert sweep(["-m", *smallest]) == 0
    rows, told = rows_of(tmp_path), capsys.readouterr().out
    assert [row["status"] for row in rows] == ["done"] * 3
    assert all(0.1 <= float(row["guidance.strength"]) <= 1 for row in rows)
    assert len(list((tmp_path / "store" / "inversion").iterdir())) == 1, "all trials share the inversion"
    for number, row in enumerate(rows, start=1):
        figures = f"warp_error_moved {float(row['warp_error_moved']):.4f}, psnr_object {float(row['psnr_object']):.2f} dB"
        assert f"trial {number} of 3: guidance.strength={row['guidance.strength']}" in told
        assert figures in told
