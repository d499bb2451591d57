"""The depth that a depth ControlNet is drawn from: the capture's own, and the radiance field's where that says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.config import RunSettings
from qnerf.runs import source_depth
from qnerf.runs.work import ALONE
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.reader import read_scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import SIZE, write_capture


def test_the_captures_depth_is_taken_where_it_is_and_the_fields_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = read_scene(SceneSettings(path=str(write_capture(tmp_path)), size=SIZE))
    settings, size = RunSettings.compose(), (SIZE, SIZE)
    own = torch.rand(4, SIZE, SIZE) + 1
    asked: list[Any] = []

    def render(cameras: Cameras, where: Tensor | None = None) -> tuple[None, Tensor]:
        asked.append(where)
        depth = torch.full((4, SIZE, SIZE), 7.0)
        depth[:, 0] = 0  # it sees nothing there
        return None, depth

    monkeypatch.setattr(source_depth, "source_field", lambda *_: SimpleNamespace(render=render))
    whole = source_depth.source_depth(settings, replace(scene, depth=own), size, ALONE)
    assert torch.equal(whole, own)
    assert asked == [], "no field is trained for it"
    hole = own.clone()
    hole[:, :9, :9] = torch.inf
    found = source_depth.source_depth(settings, replace(scene, depth=hole), size, ALONE)
    assert torch.equal(asked[0], torch.isinf(hole))
    assert torch.equal(found[torch.isfinite(hole)], hole[torch.isfinite(hole)])
    assert (found[:, 1:9, :9] == 7).all()
    assert torch.isinf(found[:, 0, :9]).all()
    assert torch.equal(source_depth.source_depth(settings, scene, size, ALONE)[:, 1:], torch.full((4, SIZE - 1, SIZE), 7.0))
