from pathlib import Path

import pytest

from qnerf.trackers.files import FilesTracker
from qnerf.trackers.record import record_edit
from qnerf.trackers.wandb import WandbTrackerSettings
from tests.trackers.test_trackers import install_fake, lines


def record(tracker: FilesTracker, folder: Path) -> None:
    (folder / "full_step005.png").touch()
    pictures = [("a title", folder / "full_step005.png"), ("gone", folder / "full_step010.png")]
    figures = {"psnr": 20.0, "depth": None}
    record_edit(tracker, "full", figures, {}, [(5, {"up_1": 0.9}), (10, {"up_1": 0.8})], pictures, steps=30)


def test_figures_fields_and_pictures_each_at_its_step(tmp_path: Path) -> None:
    record(FilesTracker(tmp_path), tmp_path)
    assert lines(tmp_path) == [
        {"step": 5, "full/r2/up_1": 0.9},
        {"step": 10, "full/r2/up_1": 0.8},
        {"step": 30, "full/psnr": 20.0},
        {"image": "full/queries", "file": "full_step005.png", "step": 5},
    ]


def test_a_second_method_may_start_at_step_0_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = install_fake(monkeypatch, failing=None)
    tracker = WandbTrackerSettings(name="wandb").build(tmp_path, "abc", {})
    for name in ("independent", "full"):
        record_edit(tracker, name, {"psnr": 20.0}, {}, [(5, {"up_1": 0.9})], [("t", tmp_path / "gone.png")], steps=30)
    assert run.calls == ["log"] * 4
    assert {"independent/psnr", "full/psnr", "full/r2/up_1", "step"} == set(run.logged) - {"independent/r2/up_1"}
