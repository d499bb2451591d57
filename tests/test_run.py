"""Whole runs on a random backbone of the real topology: 32 px views of a procedural scene, on disk."""

import csv
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from safetensors.torch import load_file

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common.files import read_json
from qnerf.common.installation import commit
from qnerf.config import RunSettings, parse
from qnerf.consolidation import consolidate
from qnerf.errors import UserError
from qnerf.run import CONFIGS
from qnerf.runs import loading, pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene

pytestmark = pytest.mark.integration

SMALL = (
    "scene.size=32",
    "steps=4",
    "schedule=progressive",
    "schedule.interval=2",
    "guidance.until=1",
    "field.optimiser.iterations=3",
    "rgb_field.optimiser.iterations=3",
    "device=cpu",
)
COMPARE = ("+exp=compare", "baselines=[independent,one_shot,hard,oracle]", "baselines.one_shot.schedule.interval=2")
FILES = {
    "config.yaml", "metrics.json", "metrics.jsonl", "comparison.csv", "transforms.json", "contact_sheet.png", "orbit.mp4",
    "report.html", "run.log", "done",
}  # fmt: skip


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "puppet_0"
    write_scene(folder, build_scene(0, views=4, size=32))
    return folder


@contextmanager
def tiny() -> Iterator[None]:
    """Runs compute with a random model of the real topology, and settings are composed from conf/."""
    with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(CONFIGS), version_base="1.3"):
        patch.setattr(PuppetSettings, "build", lambda settings, device: tiny_backbone())
        yield


@pytest.fixture(scope="module")
def whole(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one finished run, which several tests hold their own against and none changes."""
    with tiny():
        return run(scene_folder, tmp_path_factory.mktemp("whole"))


@pytest.fixture(autouse=True)
def _tiny(whole: Path) -> Iterator[None]:
    with tiny():
        yield


def settings_of(scene: Path, output: Path, *overrides: str) -> RunSettings:
    return parse(compose("config", [f"scene.path={scene}", f"output_dir={output}", *SMALL, *overrides]))


def run(scene: Path, output: Path, *overrides: str) -> Path:
    return pipeline.run(settings_of(scene, output, *overrides), "python -m qnerf.run test")


def edited(folder: Path) -> list[Any]:
    return [np.asarray(Image.open(path)) for path in sorted((folder / "edited").glob("*.png"))]


def test_a_run_leaves_every_file_and_a_second_one_finds_it_done(
    scene_folder: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = whole
    assert {p.name for p in folder.iterdir() if not p.name.startswith(".")} - {"methods", "edited"} == FILES
    assert len(edited(folder)) == 4
    metrics = read_json(folder / "metrics.json")
    assert set(metrics["methods"]) == {"independent", "full"}
    assert {"psnr_truth", "ssim_truth", "warp_error_moved", "warp_error_moved_floor", "heldout_psnr"} <= set(metrics)
    assert len(metrics["reconstruction_psnr_by_view"]) == 4
    rows = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [(row["method"], row["pictures"]) for row in rows] == [
        (method, pictures) for pictures in ("output", "as decoded") for method in ("independent", "full")
    ]
    assert set(metrics["methods_as_decoded"]) == {"independent", "full"}
    assert metrics["methods_as_decoded"]["full"]["psnr_truth"] < metrics["psnr_truth"]
    assert "heldout_psnr" not in metrics["methods_as_decoded"]["full"]
    assert "The query fields of full" in (folder / "report.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    assert run(scene_folder, folder.parents[1]) == folder
    assert "Finished already" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    mark = json.loads((whole / "done").read_text())
    assert mark["commit"] == commit()
    assert re.fullmatch("[0-9a-f]{16}", mark["weights"])


def test_two_runs_are_bit_equal_whatever_the_tracker_and_chunks_differ_by_rounding_alone(
    scene_folder: Path, whole: Path, tmp_path: Path
) -> None:
    first, second = whole, run(scene_folder, tmp_path / "b", "tracker=wandb")
    assert first.name == second.name, "the tracker is no part of the identity"
    assert list(second.glob(f"wandb/offline-run-*-{second.name}"))
    for name in ("metrics.json", "transforms.json"):
        assert _without_seconds(read_json(first / name)) == _without_seconds(read_json(second / name))
    assert all(np.array_equal(a, b) for a, b in zip(edited(first), edited(second), strict=True))
    third = run(scene_folder, tmp_path / "c", "chunk_size=3")
    assert third.name == first.name, "the chunk size is no part of the identity"
    plain, chunked = (load_file(f / "methods" / "independent.safetensors")["latents"] for f in (first, third))
    torch.testing.assert_close(plain, chunked, atol=1e-4, rtol=1e-4)
    for a, b in zip(edited(first), edited(third), strict=True):  # fields amplify the rounding of other batch sizes
        assert np.abs(a.astype(int) - b).mean() < 1


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(item) for key, item in value.items() if key != "seconds"}
    return value


def test_an_interrupted_run_goes_on_and_ends_as_if_it_had_not_been(
    scene_folder: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_outcome", break_off)
        with pytest.raises(KeyboardInterrupt):
            run(scene_folder, tmp_path / "broken")
    broken = next((tmp_path / "broken" / "articulation").iterdir())
    assert not (broken / "done").exists()
    for latents in (tmp_path / "broken" / "store" / "edit").glob("*/tensors.safetensors"):
        latents.write_bytes(latents.read_bytes()[:-7])  # as if the machine had gone down in the middle of it
    capsys.readouterr()
    assert run(scene_folder, tmp_path / "broken") == broken
    assert "tensors.safetensors has changed since it was written" in capsys.readouterr().err
    assert _without_seconds(read_json(broken / "metrics.json")) == _without_seconds(read_json(whole / "metrics.json"))
    assert all(np.array_equal(a, b) for a, b in zip(edited(whole), edited(broken), strict=True))


def test_all_methods_of_the_comparison_land_in_its_sheet_and_plan_and_work_agree(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = pipeline.RunProgress

    def remember(*arguments: Any) -> Any:
        seen.append(real(*arguments))
        return seen[-1]

    monkeypatch.setattr(pipeline, "RunProgress", remember)
    folder = run(scene_folder, tmp_path, *COMPARE)
    rows = list(csv.DictReader((folder / "comparison.csv").open()))
    assert [row["method"] for row in rows[:5]] == ["independent", "one_shot", "hard", "oracle", "full"]
    wide, narrow = (Image.open(folder / f"{name}.png").width for name in ("comparison", "contact_sheet"))
    assert wide > narrow
    progress = seen[0]
    assert {kind: round(left, 6) for kind, left in progress.left.items()} == dict.fromkeys(progress.left, 0)
    assert progress.fraction() == 1.0


@pytest.mark.parametrize(
    "overrides",
    ["inversion=uniform_attention control.detail=bones recorder=decoder_coarse baselines=[]",
     "inversion=null_text inversion.inner_steps=1 editor=plain control.detail=loose_depth baselines=[]",
     "baselines=[mixed]", "schedule=independent"],
)  # fmt: skip
def test_each_choice_is_one_override(overrides: str, scene_folder: Path, tmp_path: Path) -> None:
    small = [word for word in SMALL if not (word.startswith("schedule") and "schedule=independent" in overrides)]
    paths = (f"scene.path={scene_folder}", f"output_dir={tmp_path}", "metrics=quick")
    assert (pipeline.run(parse(compose("config", [*paths, *small, *overrides.split()])), "") / "done").exists()


def test_what_the_scene_or_the_model_lacks_is_said_before_the_work(scene_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scene\.size is 64"):
        run(scene_folder, tmp_path, "scene.size=64")
    with pytest.raises(UserError, match=r"recorder.layers is \[99\]"):
        run(scene_folder, tmp_path, "recorder.layers=[99]")
    bare = tmp_path / "bare"
    scene = build_scene(0, views=4, size=32)
    write_scene(bare, replace(scene, truth=None))
    with pytest.raises(UserError, match="oracle"):
        run(bare, tmp_path, *COMPARE)
    folder = run(bare, tmp_path, "metrics=quick", "scene.target_prompt='A figure, before a zebra.'")
    assert "has only seen rendered puppets" in (folder / "report.html").read_text()
    assert "does not know zebra and ignores" in (folder / "report.html").read_text()


def test_a_truth_without_plates_moves_to_the_device_as_it_is() -> None:
    scene = build_scene(0, views=2, size=32)
    assert scene.truth is not None
    moved = loading.on_device(replace(scene, truth=replace(scene.truth, plates=None)), torch.device("meta"))
    assert moved.truth is not None
    assert moved.truth.plates is None
    assert moved.truth.depth_edited.device.type == moved.images.device.type == "meta"


def test_the_log_holds_warnings_and_the_report_repeats_them(scene_folder: Path, tmp_path: Path) -> None:
    folder = run(scene_folder, tmp_path, "inversion.warn_below_psnr=90", "metrics=quick")
    assert "below 90.0 dB" in (folder / "run.log").read_text()
    assert "below 90.0 dB" in (folder / "report.html").read_text()
    assert not logging.getLogger("qnerf").handlers, "a run leaves no handler behind"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any({"full/psnr_truth", "step"} <= set(line) for line in lines)


def test_the_edit_without_feedback_beside_the_default_trains_no_field_again(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three intervals, which both share; of these the first stays for other runs, once both edits are there."""
    fields: list[str] = []
    train = consolidate.train_field
    monkeypatch.setattr(
        consolidate, "train_field", lambda job, queries, key, *warm: fields.append(key) or train(job, queries, key, *warm)
    )
    run(scene_folder, tmp_path, "baselines=[queries_only]", "metrics=quick", "schedule.interval=1")
    assert len(fields) == len(set(fields)) == 3
    assert len([entry for entry in (tmp_path / "store" / "interval").iterdir() if (entry / "done.json").exists()]) == 1
