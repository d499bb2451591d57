"""Small scenes and a small backbone on disk, for sweeps in this process and in others."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnerf.backbones.architecture import TINY, build_puppet
from qnerf.pretrain.export import save_parts
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene

SMALL = (
    "scene.size=32",
    "steps=4",
    "schedule=progressive",
    "inversion.warn_below_psnr=0",
    "guidance.until=1",
    "field.optimiser.iterations=2",
    "rgb_field.optimiser.iterations=2",
    "metrics=quick",
    "baselines=[]",
    "device=cpu",
)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scene of four views and a random backbone of the real topology."""
    folder = tmp_path_factory.mktemp("sweeps")
    write_scene(folder / "scene", build_scene(0, views=4, size=32))
    save_parts(build_puppet(0, TINY), folder / "backbone")
    return folder


@pytest.fixture
def small(place: Path, tmp_path: Path) -> list[str]:
    """Overrides for a run in seconds."""
    return [f"scene.path={place / 'scene'}", f"backbone.path={place / 'backbone'}", f"output_dir={tmp_path}", *SMALL]
