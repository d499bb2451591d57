"""Where a sweep stands, from folders alone: the words of its cells, `qnerf watch`, and what is told of it later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qnerf import sync, watch
from qnerf.common.files import write_json
from qnerf.errors import CLOSED_PIPE
from qnerf.runs.beat import Beat, SweepPlace, note_progress
from qnerf.runs.folder import CONFIG, RunFolder, note_failure
from qnerf.sweeps.watching import say, seconds_left, standings, words_for
from qnerf.trackers.together import in_words
from tests.trackers.helpers import Noting


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of five cells: done in 100 s, working with 30 s left, failed, killed in the middle, and new."""
    folder = tmp_path / "sweeps" / "smoke-1a2b"
    names = ["a", "b", "c", "d", "e"]
    cells = [
        {
            "identity": name,
            "folder": f"smoke/{name}",
            "command": f"python -m qnerf.run +exp=smoke scene.path=procedural\\\\:lamp_{i}",
        }
        for i, name in enumerate(names)
    ]
    write_json(folder / "sweep.json", {"command": "python -m qnerf.run -m …", "swept": {"scene.path": names}, "cells": cells})
    runs = {name: tmp_path / "smoke" / name for name in names}
    write_json(runs["a"] / "done", {"seconds": 100.0})
    for name in "abd":
        runs[name].mkdir(exist_ok=True, parents=True)
        (runs[name] / CONFIG).write_text("experiment: smoke\nscene: {name: folder}\n")
    note_progress(runs["b"], "editing: full", 0.75, 30.0)
    note_progress(runs["d"], "editing: full", 0.5, 50.0)
    os.utime(runs["d"] / "progress.json", (0, 0))
    note_failure(runs["c"], "out of memory\nand more")
    return folder


def test_a_cell_says_where_its_sweep_stands(sweep: Path) -> None:
    cells = standings(sweep)
    assert [cell.works for cell in cells] == [False, True, False, False, False]
    assert [cell.state.status for cell in cells] == ["done", "partial", "failed", "partial", "new"]
    assert seconds_left(cells) == 30 + 2 * 100
    assert say(cells, 2) == "cell 2 of 5, 3 min 50 s left for all"
    assert say(cells) == "1 of 5 done, 3 min 50 s left for all"
    (sweep.parents[1] / "smoke" / "e").mkdir()
    note_progress(sweep.parents[1] / "smoke" / "e", "editing: full", 0.5, 90.0)  # another worker
    assert seconds_left(standings(sweep)) == (30 + 90 + 100) / 2


def test_before_the_first_cell_is_done_the_working_one_tells_what_they_take(sweep: Path) -> None:
    (sweep.parents[1] / "smoke" / "a" / "done").unlink()
    assert seconds_left(standings(sweep)) == 30 + 3 * 120
    (sweep.parents[1] / "smoke" / "b" / "progress.json").unlink()
    assert seconds_left(standings(sweep)) is None
    assert say(standings(sweep)) == "0 of 5 done"


def test_words_are_looked_up_now_and_then(sweep: Path) -> None:
    now = [0.0]
    words = words_for(sweep, "b", clock=lambda: now[0])
    assert words().startswith("cell 2 of 5")
    (sweep / "sweep.json").unlink()
    assert words().startswith("cell 2 of 5"), "not read again"
    now[0] += 3600
    assert words().startswith("cell 2 of 5"), "a folder that cannot be read stops no run"


def test_a_run_gives_signs_of_life_and_says_its_place(tmp_path: Path) -> None:
    class Run:
        stage, losses = "editing", {"source field": 0.5}

        def fraction(self) -> float:
            return 0.25

        def remaining(self) -> float:
            return 60.0

    now, tracker = [100.0], Noting()
    beat = Beat(tmp_path, tracker, SweepPlace("smoke-1a2b", "seed=1", lambda: "cell 3 of 48"), clock=lambda: now[0])
    assert beat(Run()) == " · cell 3 of 48"
    assert json.loads((tmp_path / "progress.json").read_text())["seconds_left"] == 60.0
    (tmp_path / "progress.json").unlink()
    now[0] += 1
    assert beat(Run()) == " · cell 3 of 48"
    assert not (tmp_path / "progress.json").exists()
    [(kind, live, seconds)] = tracker.told
    assert (kind, seconds, live["percent"], live["source_field_loss"]) == ("live", 0.0, 25.0, 0.5)
    with RunFolder(tmp_path):
        note_progress(tmp_path, "editing", 0.5, 1.0)
    assert not (tmp_path / "progress.json").exists(), "a run that has ended gives none"


def test_the_page_of_a_sweep(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watch.main([str(sweep), "--once"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "smoke-1a2b: 1 of 5 done, 3 min 50 s left for all (1 working, 1 done, 1 failed, 1 partial, 1 new)"
    assert rest[0] == "   2  [##################......]  75 % editing: full, 30 s left  scene.path=procedural:lamp_1"
    assert rest[1] == "   3  failed: out of memory  scene.path=procedural:lamp_2"
    assert watch.main([str(sweep.parent), "--once"]) == 2
    assert f"{sweep.parent} is a folder of sweeps (smoke-1a2b); expected" in capsys.readouterr().err
    for folder, found in ((sweep.parents[1] / "smoke" / "a", "is the folder of one run"), (sweep / "x", "does not exist")):
        assert watch.main([str(folder), "--once"]) == 2
        told = capsys.readouterr().err
        assert f"{folder} {found}; expected the folder of a sweep, which has sweep.json and results.csv: give" in told
        assert "Errno" not in told


def test_the_page_ends_when_nothing_is_left_to_come(sweep: Path) -> None:
    smoke = sweep.parents[1] / "smoke"
    for name in "bde":
        write_json(smoke / name / "done", {"seconds": 1.0})
    assert watch.main([str(sweep)]) == 1, "one has failed"
    write_json(smoke / "c" / "done", {"seconds": 1.0})
    assert watch.main([str(sweep)]) == 0


def test_a_moved_output_folder_keeps_its_cells(sweep: Path, tmp_path: Path) -> None:
    record = json.loads((sweep / "sweep.json").read_text())
    for cell in record["cells"]:
        cell["folder"] = f"/somewhere/else/outputs/{cell['folder']}"
    write_json(sweep / "sweep.json", record)
    assert [cell.state.status for cell in standings(sweep)] == ["done", "partial", "failed", "partial", "new"]


def test_nothing_is_left_of_a_sweep_that_is_done(sweep: Path) -> None:
    for name in "bcde":
        write_json(sweep.parents[1] / "smoke" / name / "done", {"seconds": 1.0})
    assert say(standings(sweep)) == "5 of 5 done"


def test_a_reader_that_has_seen_enough_ends_the_page_quietly(sweep: Path) -> None:
    """As `qnerf watch … | head` does; here the pipe is closed before anything is read."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "qnerf", "watch", "--once", str(sweep)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_finished_cells_are_told_to_a_tracker_later_and_once(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    folder = sweep.parents[1] / "smoke" / "a"
    (folder / "metrics.jsonl").write_text('{"step": 4, "full/psnr": 20.0}\n{"summary": {"full": {"psnr": 20.0}}}\n')
    command = [str(sweep), "--tracker", "tensorboard"]
    assert sync.main(command) == 0
    assert capsys.readouterr().out == f"{folder}: told to tensorboard\n"
    assert list((folder / "tensorboard").glob("events*"))
    assert sync.main(command) == 0
    assert capsys.readouterr().out == f"{folder}: nothing new\n"
    assert sync.main([str(sweep.parents[1] / "smoke" / "b"), "--tracker", "tensorboard"]) == 2
    assert "smoke/b is a run that is not finished; expected the folder of a finished run" in capsys.readouterr().err
    assert in_words("wandb offline /qnerf/0123") == "wandb offline qnerf/0123"


def test_help_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(option in out for option in ("--tracker NAME", "tracker.key=value", "--again", "--config-dir FOLDER", "tensorboard"))
    with pytest.raises(SystemExit):
        watch.main(["--help"])
    assert "--once" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x"], "expected a folder and a tracker"),
        (["x", "--tracker", "wandbb"], "'wandbb' is no tracker; nearest valid: wandb"),
        (["x", "--tracker=wandb", "--agian"], "--agian: not understood"),
        (["x", "--tracker=wandb"], "x does not exist; expected the folder of a finished run, or of a sweep"),
        (["x", "--tracker=wandb", "tracker.mode=onlin"], "tracker.mode"),
    ],
)
def test_what_is_wrong_with_a_command_is_said(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main(arguments) == 2
    assert sentence in capsys.readouterr().err
