"""Hydra's launchers give what one process gives, and share every stage; each is skipped where its extra is not installed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qnerf.common.installation import install_command
from qnerf.errors import UserError
from qnerf.sweeps import launch
from tests.sweeps.conftest import sweep

GRID = ("guidance.strength=.01,.02", "schedule.interval=2", "baselines=[independent]", "output.keep_pixels=false")
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "ray": ["hydra.launcher.ray.init.num_cpus=2", "hydra.launcher.ray.remote.num_gpus=0"],
    "submitit_local": ["hydra.launcher.timeout_min=10"],
}


def needs(launcher: str) -> pytest.MarkDecorator:
    extra = launcher.split("_")[0]
    found = find_spec(extra) is not None
    return pytest.mark.skipif(not found, reason=f"needs the extra qnerf[{extra}]")


def latents(output: Path) -> dict[str, torch.Tensor]:
    files = output.glob("articulation/*/methods/*.safetensors")
    return {f"{path.parts[-3]}/{path.name}": load_file(path)["latents"] for path in files}


def computed(output: Path) -> Counter[str]:
    """How often each stage was computed, as the cells' logs tell."""
    logs = (path.read_text() for path in output.glob("articulation/*/run.log"))
    return Counter(key for text in logs for key in re.findall(r"computing (\S+/\S+)", text))


@pytest.fixture(scope="module")
def plain(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid in one process, of one thread: sums over several threads round otherwise."""
    from tests.sweeps.conftest import SMALL

    output = tmp_path_factory.mktemp("plain")
    overrides = [f"scene.path={place / 'scene'}", f"backbone.path={place / 'backbone'}", f"output_dir={output}", *SMALL]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert sweep(["-m", *overrides, *GRID]) == 0
    finally:
        torch.set_num_threads(threads)
    return output


@pytest.mark.integration
@pytest.mark.parametrize("launcher", [pytest.param(name, marks=needs(name)) for name in LAUNCHERS])
def test_two_workers_give_what_one_process_gives_and_compute_no_stage_twice(
    launcher: str, small: list[str], plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert sweep(["-m", *small, *GRID, f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]) == 0
    expected, found = latents(plain), latents(tmp_path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert computed(tmp_path) == computed(plain)
    assert set(computed(tmp_path).values()) == {1}
    [table] = tmp_path.glob("sweeps/*/results.csv")
    assert [row["status"] for row in csv.DictReader(table.open())] == ["done", "done"]


@pytest.mark.parametrize("launcher", ["joblib", "ray", "submitit_local", "submitit_slurm"])
def test_a_launcher_that_is_not_installed_is_said_before_anything_starts(
    launcher: str, small: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    command = re.escape(install_command(launcher.split("_")[0]))
    with pytest.raises(UserError, match=f"hydra/launcher={launcher} needs .* {command}, or leave it out"):
        sweep(["-m", *small, "seed=0,1", f"hydra/launcher={launcher}"])
    assert not list(tmp_path.iterdir())


def test_without_any_of_hydras_plugins_a_launcher_is_not_there() -> None:
    assert not launch._is_there("hydra_plugins_that_nobody_has.launcher")
    assert launch._is_there("hydra._internal")


@needs("submitit_slurm")
def test_slurm_without_a_cluster_is_told_and_leaves_the_cells_as_they_were(
    small: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(["-m", *small, "schedule.interval=2", "seed=0,1", "hydra/launcher=submitit_slurm"]) == 1
    assert "the launcher failed" in capsys.readouterr().err
