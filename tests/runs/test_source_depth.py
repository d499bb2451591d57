"""The depth of the source views is the capture's own where it is known, and the radiance field's elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.config import RunSettings
from qnerf.runs import source_depth as module
from qnerf.runs.work import ALONE
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Scene
from tests.scenes.conftest import ring_cameras

CAMERAS = ring_cameras(3, 8, 10.0)
SCENE = Scene("a", ("0", "1", "2"), torch.zeros(3, 3, 8, 8), CAMERAS, "", "", torch.zeros(3), 1.0, None, None)


class Field:
    """Shows everything at 7, and nothing where its columns are odd."""

    def render(self, cameras: Cameras, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        depth = torch.full((3, cameras.height, cameras.width), 7.0)
        depth[:, :, 1::2] = 0
        return torch.zeros(0), depth if where is None else depth * where


def test_known_depth_is_kept_and_the_field_fills_in_what_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = RunSettings.model_construct()
    known = torch.full((3, 8, 8), 2.0)
    asked: list[str] = []

    def field(*_: object) -> Field:
        asked.append("field")
        return Field()

    monkeypatch.setattr(module, "source_field", field)
    assert torch.equal(module.source_depth(settings, replace(SCENE, depth=known), (8, 8), ALONE), known)
    assert not asked  # no field is needed
    known[0, :, :4] = torch.inf
    found = module.source_depth(settings, replace(SCENE, depth=known), (8, 8), ALONE)
    assert asked
    expected = known.clone()
    expected[0, :, 0], expected[0, :, 2] = 7.0, 7.0
    assert torch.equal(found, expected)
    assert torch.isinf(module.source_depth(settings, SCENE, (8, 8), ALONE)[:, :, 1::2]).all()
