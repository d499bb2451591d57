"""A whole evaluation of a random backbone of 32 px, with random classifiers: every file is there, and nothing is computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.classifiers.classifiers import Classifiers
from qnerf.classifiers.net import ClassifierNet
from qnerf.evaluate_backbone.evaluate import evaluate_backbone
from qnerf.evaluate_backbone.settings import GROUPS, EvaluateSettings


def settings(folder: Path, **changes: Any) -> EvaluateSettings:
    small = {"views": 6, "sweep_views": 4, "steps": 2, "sweep": (1.0, 5.0, 15.0), "chunk_size": 4, "device": "cpu", "world": 2}
    return EvaluateSettings(name="tiny", output_dir=str(folder), backbone=PuppetSettings(), **{**small, **changes})


@pytest.mark.integration
def test_an_evaluation_leaves_every_figure_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    classifiers, model = Classifiers(ClassifierNet((4, 8, 8, 8, 8)), "random"), tiny_backbone()
    folder = evaluate_backbone(settings(tmp_path), model, classifiers)
    found = json.loads((folder / "figures.json").read_text())
    assert list(found["groups"]) == list(GROUPS)
    assert len(found["bars"]) >= 15
    assert found["backbone"] == "tiny-0"
    assert set(found["groups"]["guidance"]["saturation"]) == {"1.0", "5.0", "15.0"}
    for name in (
        "generation.png",
        "loose.png",
        "loose_failures.png",
        "generation_failures.png",
        "inversion.png",
        "guidance.png",
        "queries_toy.png",
        "saturation.svg",
        "run.log",
    ):
        assert (folder / name).stat().st_size > 100, name
    for name in ("silhouette_iou", "colour_accuracy", "fid", "kid"):
        assert name in found["groups"]["generation"]["generated"]

    def painted_again(*_: object) -> None:
        raise AssertionError("a kept chunk was painted again")

    monkeypatch.setattr("qnerf.evaluate_backbone.jobs.generate", painted_again)
    monkeypatch.setattr("qnerf.evaluate_backbone.jobs.reconstruct", painted_again)
    (folder / "figures.json").unlink()
    evaluate_backbone(settings(tmp_path, groups=("generation", "inversion")), model, classifiers)  # groups are kept
    other = Classifiers(ClassifierNet((4, 8, 8, 8, 8)), "other classifiers")
    evaluate_backbone(settings(tmp_path, groups=("generation", "loose", "guidance")), model, other)  # pictures are
    again = json.loads((folder / "figures.json").read_text())
    assert list(again["groups"]) == ["generation", "loose", "guidance"]
    with pytest.raises(AssertionError, match="painted again"):
        evaluate_backbone(settings(tmp_path, groups=("generation",), guidance=4.0), model, classifiers)


@pytest.mark.integration
def test_chunks_change_no_picture(tmp_path: Path) -> None:
    classifiers, model = Classifiers(ClassifierNet((4, 8, 8, 8, 8)), "random"), tiny_backbone()
    folders = [
        evaluate_backbone(settings(tmp_path / str(size), groups=("inversion",), chunk_size=size, world=1), model, classifiers)
        for size in (2, 6)
    ]
    first, second = (json.loads((folder / "figures.json").read_text())["groups"]["inversion"] for folder in folders)
    assert first == pytest.approx(second, abs=0.02)
