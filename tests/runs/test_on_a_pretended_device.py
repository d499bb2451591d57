"""A whole run on a device that is not there: from the scene to the report, each tensor is where the next step asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.fx.experimental import _config

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common import finite
from qnerf.config import parse
from qnerf.run import CONFIGS
from qnerf.runs import loading, outcome, pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from tests.pretend_device import PRETENDED, moved, pretend_device

SMALL = (
    "scene.size=32", "steps=2", "schedule=progressive", "schedule.interval=1", "schedule.feedback=null", "guidance.until=1",
    "field.optimiser.iterations=2", "rgb_field.optimiser.iterations=2", "field.encoding=torch", "rgb_field.encoding=torch",
)  # fmt: skip


def pretended_backbone(settings: Any = None, device: Any = None) -> DiffusionBackbone:
    found = tiny_backbone()
    for name, value in vars(found).items():
        if isinstance(value, Tensor | nn.Module) or name in ("controlnets", "parts"):
            setattr(found, name, moved(value))
    found.device = PRETENDED
    return found


@pytest.mark.integration
def test_scene_controls_edits_and_figures_of_a_run_are_on_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silhouettes are left out: their threshold is a rank among values, which there are none of."""
    write_scene(tmp_path / "puppet_0", build_scene(0, views=3, size=32))
    monkeypatch.setattr(PuppetSettings, "build", pretended_backbone)
    monkeypatch.setattr(loading, "pick_device", lambda asked: PRETENDED)
    monkeypatch.setattr(finite.require_finite, "__code__", (lambda *given, **more: None).__code__)  # of values
    monkeypatch.setattr(finite.require_finite, "__kwdefaults__", None)
    monkeypatch.setattr(outcome, "look_at", lambda scene: None)  # draws with the cameras' values
    overrides = [f"scene.path={tmp_path / 'puppet_0'}", f"output_dir={tmp_path / 'out'}", *SMALL]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", [*overrides, "metrics.groups=[fidelity,consistency,heldout]"]))
    with _config.patch(meta_nonzero_assume_all_nonzero=True), pretend_device() as device:  # pyright: ignore
        folder = pipeline.run(settings, "a test")
    assert (folder / "done").exists()
    assert any(torch.Size(copy.shape)[-2:] == (32, 32) for copy in device.copies if copy.way == "home"), "pictures came home"
