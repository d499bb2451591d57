"""Each tracker by itself: what it hands on, read back with what its service reads where that is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from qnerf.common.installation import install_command
from qnerf.trackers.mlflow import ALLOW_FILES, MlflowTrackerSettings
from qnerf.trackers.tensorboard import TensorboardTrackerSettings
from qnerf.trackers.together import Together, replay
from qnerf.trackers.tracker import TrackerSettings
from qnerf.trackers.wandb import WandbTrackerSettings
from tests.trackers.helpers import lines, run_in
from tests.trackers.wandb_file import Kept, read


class FakeRun:
    """Stands in for wandb's run."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.summary = SimpleNamespace(update=lambda values: self.calls.append(("summary", values)))

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        pass

    def log(self, values: dict[str, Any]) -> None:
        self.calls.append(("log", values))

    def finish(self, exit_code: int) -> None:
        self.calls.append(("finish", exit_code))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeRun, dict[str, Any]]:
    run, seen = FakeRun(), {}
    init = lambda **arguments: seen.update(arguments) or run  # noqa: E731
    module = SimpleNamespace(init=init, Settings=dict, Image=str)
    monkeypatch.setitem(sys.modules, "wandb", module)  # pyright: ignore[reportArgumentType]
    return run, seen


def tell(settings: TrackerSettings, folder: Path, exit_code: int = 0, **more: Any) -> None:
    """A short run, told through all trackers of the settings."""
    Image.new("RGB", (8, 4), (255, 0, 0)).save(folder / "sheet.png")
    tracker = Together(settings, run_in(folder, **more))
    tracker.log({"loss": 1.0}, step=20)
    tracker.log({"loss": 0.5}, step=7)  # a second method begins again
    tracker.live({"percent": 50.0}, seconds=3)
    print("what a run prints")
    tracker.image("sheet", folder / "sheet.png", 7)
    tracker.table(
        "views", ["view", "psnr", "edited"], [["front", 20.5, folder / "sheet.png"], ["back", None, folder / "sheet.png"]]
    )
    tracker.file("report", folder / "sheet.png")
    tracker.lineage("scene", "12ab", {"views": ["front"]}, [folder / "sheet.png"])
    tracker.lineage("inversion", "34ab", {"scene": "scene-12ab"}, made=True)
    tracker.finish({"full": {"psnr": 30.0}}, exit_code)


def test_a_run_at_wandb_is_named_grouped_and_tagged_and_has_the_runs_exit_code(
    tmp_path: Path, fake: tuple[FakeRun, dict[str, Any]]
) -> None:
    run, seen = fake
    settings = WandbTrackerSettings(name="wandb", tags=("mine",), notes="why")
    tracker = Together(settings, run_in(tmp_path, label="seed=1", sweep="smoke-1a2b", facts={"choices": {"guidance": "soft"}}))
    tracker.log({"loss": 1.0}, step=7)
    tracker.finish({"psnr": 30.0}, 130)
    assert (seen["id"], seen["mode"], seen["resume"]) == ("abc123", "offline", None)
    assert (seen["group"], seen["name"], seen["job_type"], seen["notes"]) == ("smoke-1a2b", "seed=1", "edit", "why")
    assert seen["tags"] == ["mine", "ablation_layers"]
    assert seen["config"] == {"seed": 0, "experiment": "ablation_layers", "choices": {"guidance": "soft"}}
    assert run.calls == [("log", {"loss": 1.0, "step": 7}), ("summary", {"psnr": 30.0}), ("finish", 130)]


def test_settings_of_wandb_replace_what_would_be_chosen(tmp_path: Path, fake: tuple[FakeRun, dict[str, Any]]) -> None:
    _, seen = fake
    settings = WandbTrackerSettings(name="wandb", id="other", run_name="n", group="g", job_type="j", mode="online")
    Together(settings, run_in(tmp_path, sweep="s", label="l"))
    assert [seen[key] for key in ("id", "name", "group", "job_type", "resume")] == ["other", "n", "g", "j", "allow"]
    Together(WandbTrackerSettings(name="wandb"), run_in(tmp_path))
    assert seen["group"] == "ablation_layers", "a run that is in no sweep stands with those of its experiment"


def test_a_run_of_an_agent_is_the_agents_and_each_of_its_repeats_gets_one(
    tmp_path: Path, fake: tuple[FakeRun, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, seen = fake
    settings = WandbTrackerSettings(name="wandb", mode="online")
    for agent in ("first", "second"):
        monkeypatch.setenv("WANDB_RUN_ID", agent)
        Together(settings, run_in(tmp_path)).finish({})
        assert (seen["id"], seen["resume"]) == (None, None), "W&B takes the agent's from the environment"
        assert settings.destination(run_in(tmp_path)).endswith(f"/qnerf/{agent}")
    assert [call[0] for call in run.calls].count("finish") == 2


def test_what_is_printed_is_the_runs_unless_it_is_told_from_its_record(
    tmp_path: Path, fake: tuple[FakeRun, dict[str, Any]]
) -> None:
    Together(WandbTrackerSettings(name="wandb"), run_in(tmp_path)).finish({})
    assert fake[1]["settings"]["console"] == "wrap"
    assert replay(WandbTrackerSettings(name="wandb", project="other"), run_in(tmp_path))
    assert fake[1]["settings"]["console"] == "off"


def test_without_a_package_there_is_one_warning_and_plain_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("wandb", "mlflow", "mlflow.entities", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)  # pyright: ignore[reportArgumentType]
    beside = {"tensorboard": {"name": "tensorboard"}, "mlflow": {"name": "mlflow"}}
    tell(WandbTrackerSettings.model_validate({"name": "wandb", "beside": beside}), tmp_path)
    assert [record.getMessage().split()[0] for record in caplog.records] == ["wandb", "tensorboard", "mlflow"]
    assert all(install_command(extra) in caplog.text for extra in ("tensorboard", "mlflow"))
    assert len(lines(tmp_path)) == 8


def kept(folder: Path) -> Kept:
    [path] = folder.glob("wandb/offline-run-*/run-abc123.wandb")
    return read(path)


@pytest.mark.integration
def test_what_wandb_keeps_offline_read_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tell(WandbTrackerSettings(name="wandb"), tmp_path, exit_code=1, sweep="smoke-1a2b", label="seed=1")
    found = kept(tmp_path)
    assert "what a run prints" in found.console
    assert (found.exit_code, found.run.run_group, found.run.display_name) == (1, "smoke-1a2b", "seed=1")
    assert found.steps("loss") == [20, 7]
    assert [row["live/percent"] for row in found.history if "live/percent" in row] == [50.0]
    assert found.inputs == ["scene-12ab"]
    assert found.outputs[-2:] == ["inversion-34ab", "edit-abc123"]
    assert any(key.startswith("views/") or key == "views" for row in found.history for key in row)
    assert not [record for record in caplog.records if record.name.startswith("qnerf")]
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/sheet_*.png"))


ENDINGS = """
import os, signal, sys
from pathlib import Path
from qnerf.runs.ending import exit_code, termination
from qnerf.trackers.together import Together, replay
from qnerf.trackers.wandb import WandbTrackerSettings
from tests.trackers.helpers import run_in
with termination():
    tracker, code = Together(WandbTrackerSettings(name="wandb"), run_in(Path(sys.argv[1]))), 0
    tracker.log({"loss": 1.0}, 0)
    try:
        os.kill(os.getpid(), int(sys.argv[2]))
        signal.pause()
    except BaseException as error:
        code = exit_code(error)
        raise
    finally:
        tracker.finish({}, code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, None)], ids=["interrupt", "term", "kill"]
)
def test_a_run_that_is_stopped_is_not_finished_at_wandb(number: int, expected: int | None, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDINGS, str(tmp_path), str(int(number))]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": "."}, capture_output=True)
    assert done.returncode != 0
    time.sleep(1)  # W&B's own process outlives a killed one by a moment
    found = kept(tmp_path)
    assert found.exit_code == expected or (expected is None and found.exit_code not in (None, 0))


@pytest.mark.integration
def test_what_tensorboard_reads(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell(TensorboardTrackerSettings(name="tensorboard"), tmp_path, exit_code=1)
    found = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(20, 1.0), (7, 0.5)]
    assert found.Scalars("live/percent")[0].step == 3
    [picture] = found.Images("sheet")
    assert (picture.step, picture.width, picture.height) == (7, 8, 4)
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert "front,20.5,sheet.png" in texts["views/text_summary"]
    assert texts["exit code/text_summary"] == "1"
    assert "scene-12ab" in texts["lineage/inversion/text_summary"]


@pytest.mark.integration
def test_what_mlflow_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MlflowClient = pytest.importorskip("mlflow.tracking").MlflowClient
    monkeypatch.delenv(ALLOW_FILES, raising=False)
    settings = MlflowTrackerSettings(name="mlflow", uri=(tmp_path / "mlruns").as_uri())
    tell(settings, tmp_path, exit_code=143, sweep="smoke-1a2b", label="seed=1")
    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("qnerf")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["qnerf.sweep"]) == ("seed=1", "KILLED", "smoke-1a2b")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {(metric.step, metric.value) for metric in history} == {(20, 1.0), (7, 0.5)}
    assert run.data.params["experiment"] == "ablation_layers"
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {"sheet.png", "views.json", "lineage"}
    assert run.data.tags["qnerf.scene"] == "12ab"
    (tmp_path / "metrics.jsonl").unlink()
    tell(settings, tmp_path)
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED", "a resumed run goes on with its own"
