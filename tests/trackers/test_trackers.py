import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qnerf.trackers.files import FilesTrackerSettings
from qnerf.trackers.wandb import WandbTrackerSettings


def wandb_settings() -> WandbTrackerSettings:
    return WandbTrackerSettings(name="wandb", project="qnerf", entity=None, mode="offline", tags=())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class FakeRun:
    """Stands in for wandb's run; fails at the named method."""

    def __init__(self, failing: str | None) -> None:
        self.failing = failing
        self.calls: list[str] = []
        self.summary = SimpleNamespace(update=lambda values: self._do("summary"))

    def _do(self, name: str) -> None:
        self.calls.append(name)
        if name == self.failing:
            raise RuntimeError("boom")

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        if self.failing == "define_metric":
            self._do("define_metric")

    def log(self, values: dict[str, Any]) -> None:
        self.logged = {**getattr(self, "logged", {}), **values}
        self._do("log")

    def finish(self) -> None:
        self._do("finish")


def install_fake(monkeypatch: pytest.MonkeyPatch, failing: str | None) -> tuple[FakeRun, dict[str, Any]]:
    run, seen = FakeRun(failing), {}

    def init(**arguments: Any) -> FakeRun:
        seen.update(arguments)
        if failing == "init":
            raise RuntimeError("no network")
        return run

    fake = SimpleNamespace(init=init, Settings=dict, Image=str)
    monkeypatch.setitem(sys.modules, "wandb", fake)  # pyright: ignore[reportArgumentType]
    return run, seen


def test_files_tracker_writes_one_object_a_line_and_appends_when_resumed(tmp_path: Path) -> None:
    FilesTrackerSettings(name="files").build(tmp_path, "abc", {}).log({"loss": 1.5}, step=3)
    tracker = FilesTrackerSettings(name="files").build(tmp_path, "abc", {})
    tracker.image("sheet", tmp_path / "contact_sheet.png")
    tracker.finish({"psnr": float("nan")})
    assert lines(tmp_path) == [
        {"step": 3, "loss": 1.5},
        {"image": "sheet", "file": "contact_sheet.png"},
        {"summary": {"psnr": None}},
    ]


def test_wandb_run_has_the_identity_as_id_and_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, seen = install_fake(monkeypatch, failing=None)
    config = {"seed": 0, "experiment": "ablation_layers"}
    tracker = wandb_settings().build(tmp_path, "abc123", config)
    tracker.log({"loss": 1.0}, step=7)
    tracker.finish({"psnr": 30.0})
    assert (seen["id"], seen["mode"], seen["config"]) == ("abc123", "offline", config)
    assert seen["group"] == "ablation_layers", "the runs of a sweep are one group"
    assert run.logged == {"loss": 1.0, "step": 7}
    assert run.calls == ["log", "summary", "finish"]
    assert len(lines(tmp_path)) == 2


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        ("init", []),
        ("define_metric", ["define_metric", "finish"]),
        ("log", ["log", "finish"]),
        ("summary", ["log", "summary", "finish"]),
        ("finish", ["log", "summary", "finish"]),
    ],
)
def test_a_failure_inside_wandb_is_a_warning_and_plain_files_go_on(
    failing: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = install_fake(monkeypatch, failing)
    tracker = wandb_settings().build(tmp_path, "abc", {})
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish({"psnr": 30.0})
    assert run.calls == expected
    assert len(lines(tmp_path)) == 2
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_a_picture_that_wandb_refuses_closes_the_run_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = install_fake(monkeypatch, failing="log")
    tracker = wandb_settings().build(tmp_path, "abc", {})
    tracker.image("sheet", tmp_path / "sheet.png")
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish({})
    assert run.calls == ["log", "finish"]
    assert len(caplog.records) == 1


def test_without_wandb_there_is_a_warning_and_plain_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # pyright: ignore[reportArgumentType]
    tracker = wandb_settings().build(tmp_path, "abc", {})
    tracker.log({"loss": 1.0}, step=0)
    tracker.finish({"psnr": 30.0})
    assert len(lines(tmp_path)) == 2
    assert "the run continues without it" in caplog.text


@pytest.mark.integration
def test_real_wandb_works_offline(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "sheet.png")
    tracker = wandb_settings().build(tmp_path, "abc123", {"seed": 0})
    tracker.log({"loss": 1.0}, step=0)
    tracker.image("sheet", tmp_path / "sheet.png")
    tracker.finish({"psnr": 30.0})
    assert list((tmp_path / "wandb").glob("offline-run-*-abc123/run-abc123.wandb"))
    assert not [record for record in caplog.records if record.name.startswith("qnerf")]


@pytest.mark.integration
def test_the_parts_of_a_resumed_run_are_ready_for_wandb_sync(tmp_path: Path) -> None:
    for step in (20, 10):  # the second part begins below the first one's end
        tracker = wandb_settings().build(tmp_path, "abc123", {"seed": 0})
        tracker.log({"loss": 1.0}, step=step)
        tracker.finish({"psnr": 30.0})
        time.sleep(1.1)  # W&B names its folders by the second
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Would sync 2 run(s)" in done.stdout + done.stderr
