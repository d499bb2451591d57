"""Old names: every new one exists, old command lines are answered, old results are read."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from qnerf import __main__ as command_line
from qnerf.benchmark.cells import read_cells
from qnerf.benchmark.pictures import read_settings
from qnerf.common import renamed
from qnerf.composing.overrides import REFUSALS, explain_refusal
from qnerf.config import check, parse
from qnerf.evaluate_backbone.settings import GROUPS, EvaluateSettings
from qnerf.metrics.registry import registered
from qnerf.pretrain.average import Average
from qnerf.pretrain.checkpoint import Counters, averaged_weights, load_checkpoint, save_checkpoint
from qnerf.reports.comparison.page import document
from qnerf.reports.results import read_sweep
from qnerf.run import CONFIGS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_table() -> None:
    assert (ROOT / "docs" / "names.md").read_text(encoding="utf-8") == renamed.page()


def test_every_new_name_exists() -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", ["guidance=soft"])
    for old, new in renamed.of_kind("setting").items():
        assert OmegaConf.select(config, new) is not OmegaConf.select(config, old, default=...), new
    assert set(renamed.of_kind("figure").values()) <= set(registered())
    assert not set(renamed.of_kind("figure")) & set(registered())
    assert set(renamed.of_kind("command").values()) <= set(command_line.COMMANDS)
    assert all((CONFIGS / "pretrain" / "stage" / f"{new}.yaml").is_file() for new in renamed.of_kind("stage").values())
    for new in renamed.of_kind("evaluation").values():
        assert new in GROUPS
        assert new in EvaluateSettings.model_fields
    for new in renamed.of_kind("python").values():
        module, _, name = new.rpartition(".")
        assert hasattr(import_module(module), name) or import_module(new)


def errors_of(*overrides: str, folder: Path | None = None) -> list[str]:
    """What a user reads; folder: of configs of their own."""
    given = [*([f"hydra.searchpath=['file://{folder}']"] if folder else []), *overrides]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        try:
            return check(compose("config", given))[0]
        except REFUSALS as refusal:
            return explain_refusal(refusal, given, CONFIGS, lambda config: check(config)[0])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("inversion.steps=4", "inversion.steps: this setting has a new name; write steps=… instead"),
        ("+inversion.steps=4", "inversion.steps: this setting has a new name; write steps=… instead"),
        ("capture=decoder", "capture: this setting has a new name; write recorder=… instead"),
        ("capture.layers=[7]", "capture.layers: this setting has a new name; write recorder.layers=… instead"),
        (
            "+baselines.independent.capture.name=x",
            "baselines.independent.capture: this setting has a new name; write baselines.independent.recorder=… instead",
        ),
        ("field.hold_out_every=4", "write field.heldout_every=… instead"),
        ("guidance=soft guidance.strength=.1", "guidance.strength: this setting has a new name; write guidance.step_size=…"),
        ("guidance=hard guidance.strength=.1", "guidance.strength: unknown key"),
        ("sweep.objectives=[consistency_moved]", "it has a new name: write warp_error_moved instead"),
    ],
)
def test_an_old_name_is_answered_with_the_new_one(overrides: str, expected: str) -> None:
    errors = errors_of(*overrides.split())
    assert len(errors) == 1, errors
    assert expected in errors[0]


def test_old_names_in_config_files_are_answered_together(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    keys = "inversion: {steps: 4}\ncapture: {layers: [7]}\nfield: {hold_out_every: 4}\nguidance: {strength: .1}\n"
    choice = "# @package _global_\ndefaults:\n  - override /"
    (tmp_path / "exp" / "old_keys.yaml").write_text(f"{choice}guidance: soft\n{keys}")
    found = errors_of("+exp=old_keys", folder=tmp_path)
    wanted = ("steps", "recorder", "field.heldout_every", "guidance.step_size")
    assert sorted(found) == sorted(
        f"{old}: this setting has a new name; write {new}=… instead"
        for old, new in zip(("inversion.steps", "capture", "field.hold_out_every", "guidance.strength"), wanted, strict=True)
    )
    (tmp_path / "exp" / "old_group.yaml").write_text(f"{choice}capture: decoder_fine\n")
    [error] = errors_of("+exp=old_group", folder=tmp_path)
    assert error == "exp/old_group.yaml: capture: this setting has a new name; write recorder=… instead"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["qnerf", "examine"], "run qnerf evaluate_backbone instead"),
        (["qnerf.examine", "views=8"], "run python -m qnerf.evaluate_backbone instead"),
        (["qnerf.evaluate_backbone", "judges=my.safetensors"], "write classifiers=my.safetensors instead"),
        (["qnerf.evaluate_backbone", "groups=[judges]"], "it has a new name: write classifiers instead"),
        (["qnerf.pretrain", "stage=judges"], "write stage=classifiers instead"),
    ],
)
def test_old_commands_are_answered(arguments: list[str], expected: str) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert expected in done.stderr


OLD = {
    "consistency_moved": 0.06,
    "consistency_moved_floor": 0.02,
    "silhouette_iou": 0.9,
    "silhouette_iou_floor": 0.99,
    "psnr_object": 20.0,
}  # fmt: skip


def old_sweep(folder: Path) -> Path:
    """A small sweep's folder as earlier versions wrote it, with one run folder that still has its config."""
    run = folder / "outputs" / "x" / "abc"
    run.mkdir(parents=True)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", ["guidance=soft", "+exp=smoke"]), resolve=True)
    assert isinstance(config, dict)
    config["inversion"]["steps"] = config.pop("steps")
    config["capture"] = config.pop("recorder")
    config["baselines"]["independent"]["capture"] = {"name": "decoder_fine", "layers": [13]}
    config["guidance"]["strength"] = config["guidance"].pop("step_size")
    config["field"]["hold_out_every"] = config["field"].pop("heldout_every")
    config["sweep"]["objectives"] = ["consistency_moved"]
    (run / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    sweep = folder / "outputs" / "sweeps" / "x"
    sweep.mkdir(parents=True)
    figures = {**OLD, **{f"methods.{method}.{name}": value for method in ("independent", "full") for name, value in OLD.items()}}
    head = {"guidance.strength": ".1", "capture": "decoder", "scene": "toy_1", "control.detail": "ends", "seed": "0"}
    row = {**head, "identity": "abc", "folder": str(run), "status": "done", **figures}
    with (sweep / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    command = "python -m qnerf.run -m +exp=smoke guidance=soft guidance.strength=.1 capture=decoder inversion.steps=4"
    swept = {"guidance.strength": [".1"], "capture": ["decoder"]}
    cells = [{"identity": "abc", "folder": str(run), "command": command.replace(".run -m", ".run")}]
    (sweep / "sweep.json").write_text(json.dumps({"command": command, "swept": swept, "cells": cells}))
    return sweep


def test_an_old_sweep_is_read_under_the_new_names(tmp_path: Path) -> None:
    found = read_sweep(old_sweep(tmp_path))
    assert found.swept == {"guidance.step_size": [".1"], "recorder": ["decoder"]}
    assert found.command.endswith("guidance=soft guidance.step_size=.1 recorder=decoder steps=4")
    [cell] = found.cells
    assert cell.metrics["warp_error_moved"] == 0.06
    assert cell.metrics["methods.full.silhouette_iou_ceiling"] == 0.99
    assert not any("consistency" in name or name.endswith("iou_floor") for name in found.metrics)
    assert cell.command == "python -m qnerf.run +exp=smoke guidance=soft guidance.step_size=.1 recorder=decoder steps=4"
    assert "warp error, moved parts" in [metric["label"] for metric in document(found)["metrics"]]


def test_an_old_run_folder_has_its_settings(tmp_path: Path) -> None:
    found = read_settings(Path(read_sweep(old_sweep(tmp_path)).cells[0].folder or ""))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        new = parse(compose("config", ["guidance=soft", "+exp=smoke", "sweep.objectives=[warp_error_moved]"]))
    assert found.baselines["independent"].recorder == found.recorder.model_copy(update={"name": "decoder_fine", "layers": (13,)})
    assert found.model_dump(exclude={"baselines"}) == new.model_dump(exclude={"baselines"})


def test_the_kept_benchmark_is_read() -> None:
    cells = read_cells(ROOT / "experiments" / "consolidation" / "benchmark")
    assert len(cells) == 34
    assert all(0 < cell.figures["full"]["warp_error_moved_floor"] < cell.figures["full"]["warp_error_moved"] for cell in cells)


def test_a_command_without_old_names_stays_as_it_is() -> None:
    line = r"python -m qnerf.run +exp=benchmark 'scene.path=procedural\:figure_101' guidance.strength=.5"
    assert renamed.command(line) == line
    assert renamed.command("x 'sweep.objectives=[consistency_moved,psnr_object]'") == (
        "x 'sweep.objectives=[warp_error_moved,psnr_object]'"
    )


def test_a_checkpoint_of_the_judges_goes_on(tmp_path: Path) -> None:
    def made(name: str) -> tuple[nn.ModuleDict, Average, torch.optim.Optimizer]:
        modules = nn.ModuleDict({name: nn.Linear(2, 1)})
        return modules, Average(modules, 0.9), torch.optim.AdamW(modules.parameters())

    old, new = made("judges"), made("classifiers")
    save_checkpoint(tmp_path, *old, Counters(step=7))
    assert load_checkpoint(tmp_path, *new).step == 7
    assert torch.equal(new[0]["classifiers"].weight, old[0]["judges"].weight)  # pyright: ignore[reportArgumentType]
    assert set(averaged_weights(tmp_path)) == {"classifiers.weight", "classifiers.bias"}
