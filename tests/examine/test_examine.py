"""A whole examination of a random backbone of 32 px, with random judges: every file is there, and nothing is computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.examine.examine import examine
from qnerf.examine.settings import GROUPS, ExamineSettings
from qnerf.judges.judges import Judges
from qnerf.judges.net import JudgeNet


def settings(folder: Path, **changes: Any) -> ExamineSettings:
    small = {"views": 6, "sweep_views": 4, "steps": 2, "sweep": (1.0, 5.0, 15.0), "chunk_size": 4, "device": "cpu", "world": 2}
    return ExamineSettings(name="tiny", output_dir=str(folder), backbone=PuppetSettings(), **{**small, **changes})


@pytest.mark.integration
def test_an_examination_leaves_every_figure_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    judges, model = Judges(JudgeNet((4, 8, 8, 8, 8)), "random"), tiny_backbone()
    folder = examine(settings(tmp_path), model, judges)
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

    monkeypatch.setattr("qnerf.examine.jobs.generate", painted_again)
    monkeypatch.setattr("qnerf.examine.jobs.reconstruct", painted_again)
    (folder / "figures.json").unlink()
    examine(settings(tmp_path, groups=("generation", "inversion")), model, judges)  # groups are kept
    other = Judges(JudgeNet((4, 8, 8, 8, 8)), "other judges")
    examine(settings(tmp_path, groups=("generation", "loose", "guidance")), model, other)  # pictures are
    again = json.loads((folder / "figures.json").read_text())
    assert list(again["groups"]) == ["generation", "loose", "guidance"]
    with pytest.raises(AssertionError, match="painted again"):
        examine(settings(tmp_path, groups=("generation",), guidance=4.0), model, judges)


@pytest.mark.integration
def test_chunks_change_no_picture(tmp_path: Path) -> None:
    judges, model = Judges(JudgeNet((4, 8, 8, 8, 8)), "random"), tiny_backbone()
    folders = [
        examine(settings(tmp_path / str(size), groups=("inversion",), chunk_size=size, world=1), model, judges) for size in (2, 6)
    ]
    first, second = (json.loads((folder / "figures.json").read_text())["groups"]["inversion"] for folder in folders)
    assert first == pytest.approx(second, abs=0.02)
