"""Small scenes and a small backbone on disk, for sweeps in this process and in others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from qnerf.backbones.architecture import TINY, build_puppet
from qnerf.common.files import write_json
from qnerf.config import RunSettings
from qnerf.pretrain.export import save_parts
from qnerf.run import CONFIGS
from qnerf.runs.folder import RunFolder
from qnerf.runs.identity import read_inputs, run_folder
from qnerf.runs.stages import Stages
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from qnerf.sweeps.command import FLAGS

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


def sweep(arguments: Sequence[str], configs: Path = CONFIGS) -> int:
    """`python -m qnerf.run <arguments>` with -m among them, in this process: through Hydra and its plugin. Its exit code."""
    overrides = [word for word in arguments if word not in FLAGS]
    with initialize_config_dir(str(configs), version_base="1.3", job_name="qnerf"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            hydra.multirun("config", lambda config: None, overrides, with_log_configuration=False)
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def made_up_run(settings: RunSettings, command: str, place: object = None) -> Path:
    """In place of `pipeline.run`: a run that computes nothing."""
    identity = Stages(settings, read_inputs(settings)).identity()
    with RunFolder(run_folder(settings, identity)) as folder:
        write_json(folder.path / "metrics.json", {"scene": "made up", "psnr_object": 20.0, "warp_error_moved": 0.1})
        folder.mark_done()
    return folder.path


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
