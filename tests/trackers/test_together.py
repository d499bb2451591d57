"""The journal, and trackers beside it: nothing twice, nothing missed, and no failure that reaches the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnerf.trackers.files import FilesTrackerSettings
from qnerf.trackers.together import Together, replay
from tests.trackers.helpers import Noting, NotingSettings, lines, run_in


@pytest.fixture(autouse=True)
def built() -> list[Noting]:
    NotingSettings.built.clear()
    return NotingSettings.built


def attempt(folder: Path, settings: NotingSettings | FilesTrackerSettings, steps: int, finished: bool = True) -> None:
    """An attempt at a run of so many steps, which tells what it finds from the first step on, as one that is resumed does."""
    tracker = Together(settings, run_in(folder))
    for step in range(steps):
        tracker.log({"loss": 1 / (1 + step)}, step)
    (folder / "sheet.png").touch()
    tracker.image("sheet", folder / "sheet.png")
    tracker.table("views", ["view", "edited"], [["0", folder / "sheet.png"]])
    tracker.file("sheet", folder / "sheet.png")
    if finished:
        tracker.finish({"psnr": float("nan")})


def test_the_journal_has_one_object_a_line(tmp_path: Path) -> None:
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=1)
    assert lines(tmp_path) == [
        {"step": 0, "loss": 1.0},
        {"image": "sheet", "file": "sheet.png"},
        {"table": "views", "columns": ["view", "edited"], "rows": [["0", {"file": "sheet.png"}]]},
        {"file": "sheet.png", "name": "sheet"},
        {"summary": {"psnr": None}, "exit_code": 0},
    ]
    assert not (tmp_path / "tracked.json").exists()


@pytest.mark.parametrize("killed", [True, False])
def test_a_resumed_run_tells_nothing_twice_and_misses_nothing(killed: bool, tmp_path: Path, built: list[Noting]) -> None:
    attempt(tmp_path, NotingSettings(), steps=2, finished=not killed)
    attempt(tmp_path, NotingSettings(), steps=4)
    told = [step for tracker in built for kind, *rest in tracker.told if kind == "log" for step in rest[-1:]]
    assert told == [0, 1, 2, 3]
    assert [kind for tracker in built for kind, *_ in tracker.told].count("image") == 1
    assert [line["step"] for line in lines(tmp_path) if "step" in line] == [0, 1, 2, 3]


def test_a_tracker_that_comes_later_is_told_what_it_missed(tmp_path: Path, built: list[Noting]) -> None:
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=2)
    attempt(tmp_path, NotingSettings(), steps=3)
    assert [what[-1] for what in built[0].told if what[0] == "log"] == [0, 1, 2]
    assert ("table", "views", [["0", "sheet.png"]]) in built[0].told
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=5)
    attempt(tmp_path, NotingSettings(), steps=5)
    assert [what[-1] for what in built[1].told if what[0] == "log"] == [3, 4]


def test_a_finished_run_is_told_from_its_record_once_to_each_place(tmp_path: Path, built: list[Noting]) -> None:
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=2)
    Together(FilesTrackerSettings(name="files"), run_in(tmp_path)).finish({"psnr": 30.0})
    assert replay(NotingSettings(), run_in(tmp_path)) == ["noting here"]
    assert [what[0] for what in built[0].told] == ["log", "log", "image", "table", "file", "finish"]
    assert built[0].told[-1] == ("finish", {"psnr": 30.0}, 0)
    assert replay(NotingSettings(), run_in(tmp_path)) == []
    assert replay(NotingSettings(place="there"), run_in(tmp_path)) == ["noting there"]
    assert replay(NotingSettings(), run_in(tmp_path), again=True) == ["noting here"]
    assert built[2].told == built[0].told


@pytest.mark.parametrize("failing", ["start", "log", "image", "table", "file", "finish"])
def test_a_tracker_that_fails_is_one_warning_and_is_told_later(
    failing: str, tmp_path: Path, built: list[Noting], caplog: pytest.LogCaptureFixture
) -> None:
    attempt(tmp_path, NotingSettings(failing=failing), steps=2)
    assert len(lines(tmp_path)) == 6
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"noting {failing} failed (RuntimeError: boom): the run continues without it" in caplog.text
    if failing != "start":
        assert [what[0] for what in built[0].told][-1] == "finish", "it is closed"
    assert replay(NotingSettings(), run_in(tmp_path)) == ["noting here"]
    assert [what[-1] for what in built[-1].told if what[0] == "log"] == [0, 1]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path, built: list[Noting]) -> None:
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=2, finished=False)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    assert replay(NotingSettings(), run_in(tmp_path)) == ["noting here"]
    assert [what[-1] for what in built[0].told if what[0] == "log"] == [0, 1]


def test_the_record_of_an_earlier_version_finds_its_pictures(tmp_path: Path, built: list[Noting]) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "full_step005.png").touch()
    (tmp_path / "metrics.jsonl").write_text('{"image": "full/queries", "file": "full_step005.png", "step": 5}\n')
    replay(NotingSettings(), run_in(tmp_path))
    assert built[0].told[0] == ("image", "full/queries", "full_step005.png", 5)


def test_a_tracker_that_fails_to_start_in_a_resumed_run_has_been_told_nothing(tmp_path: Path, built: list[Noting]) -> None:
    attempt(tmp_path, FilesTrackerSettings(name="files"), steps=2, finished=False)
    attempt(tmp_path, NotingSettings(failing="start"), steps=3)
    assert replay(NotingSettings(), run_in(tmp_path)) == ["noting here"]
    assert [what[-1] for what in built[0].told if what[0] == "log"] == [0, 1, 2]


def test_what_a_run_is_made_from_is_told_once_and_again_from_the_record(tmp_path: Path, built: list[Noting]) -> None:
    run = tmp_path / "smoke" / "abc123"
    (tmp_path / "code").mkdir()
    run.mkdir(parents=True)
    code = tmp_path / "code" / "77ff.zip"
    code.touch()
    for made in (True, False):  # the second attempt finds what the first has made
        tracker = Together(NotingSettings(), run_in(run))
        tracker.lineage("inversion", "34ab", {"scene": "scene-12ab"}, made=made)
        tracker.lineage("code", "77ff", {}, [code])
        tracker.finish({})
    told = [
        ("lineage", "inversion", "34ab", {"scene": "scene-12ab"}, [], True),
        ("lineage", "code", "77ff", {}, ["77ff.zip"], False),
    ]
    assert [what for tracker in built for what in tracker.told if what[0] == "lineage"] == told
    built.clear()
    replay(NotingSettings(place="there"), run_in(run))
    assert built[0].told[:2] == told


def test_a_figure_told_again_in_another_order_is_no_second_line(tmp_path: Path, built: list[Noting]) -> None:
    """A field's R² is told when it is trained, and with all others when the edit is done."""
    tracker = Together(NotingSettings(), run_in(tmp_path))
    tracker.log({"a": 1.0, "b": 2.0}, 5)
    tracker.log({"b": 2.0, "a": 1.0}, 5)
    assert [what[0] for what in built[0].told] == ["log"]
    assert len(lines(tmp_path)) == 1
