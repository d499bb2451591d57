"""A whole run on a capture far from the origin, or of another size, gives the figures of the same capture at home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common.files import read_json
from qnerf.config import parse
from qnerf.run import CONFIGS
from qnerf.runs import pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.world import UNMOVED, World
from qnerf.scenes.writer import write_scene

SMALL = (
    "scene.size=32",
    "steps=4",
    "field.optimiser.iterations=20",
    "rgb_field.optimiser.iterations=20",
    "source_field.optimiser.iterations=20",
    "device=cpu",
)
FAR = World((5e6, -3e6, 0.0), 1.0)  # not up or down: the world's own ground z = 0 counts, and is under the figure
DECIBELS = 1e-3


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(0, views=4, size=32)


def figures(scene: Scene, world: World, folder: Path) -> dict[str, float]:
    """Those of a run on the scene in another world's units, and of its edited views beside the true ones, by view; dB alone."""
    write_scene(folder / "scene", replace(scene, world=world, truth=None))
    with pytest.MonkeyPatch.context() as patch, initialize_config_dir(str(CONFIGS), version_base="1.3"):
        patch.setattr(PuppetSettings, "build", lambda settings, device: tiny_backbone())
        settings = parse(compose("config", [f"scene.path={folder / 'scene'}", f"output_dir={folder / 'out'}", *SMALL]))
        run = pipeline.run(settings, "python -m qnerf.run test")
    found = {key: value for key, value in read_json(run / "metrics.json").items() if "psnr" in key and isinstance(value, float)}
    assert scene.truth is not None
    for name, true in zip(scene.view_names, scene.truth.edited_images, strict=True):
        image = torch.from_numpy(np.asarray(Image.open(run / f"edited/{name}.png")) / 255).permute(2, 0, 1)
        found[name] = float(-10 * (image - true).square().mean().log10())
    return found


@pytest.mark.slow
def test_a_run_far_away_or_of_another_size_gives_the_same_figures(scene: Scene, tmp_path: Path) -> None:
    expected = figures(scene, UNMOVED, tmp_path / "home")
    assert {"heldout_psnr", "reconstruction_psnr", *scene.view_names} <= expected.keys()
    for index, world in enumerate((FAR, World((0, 0, 0), 1e-4), World((0, 0, 0), 1e4), World((7e5, 0, 0), 1e-4))):
        assert figures(scene, world, tmp_path / f"{index}") == pytest.approx(expected, abs=DECIBELS), f"{world}"
