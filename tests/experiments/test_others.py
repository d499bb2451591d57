"""The study of edits of other kinds."""

from functools import partial
from pathlib import Path

import pytest
import torch

from experiments import runs, studies
from experiments.claims import report
from experiments.others import study as others
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common.files import write_json
from qnerf.config import RunSettings
from qnerf.scenes import on_demand
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.procedural.build import build_scene
from tests.schedules.helpers import BACKBONE


def test_the_study_of_other_edits_has_a_run_for_each_row_and_measures_the_bystander(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(on_demand, "VIEWS", 3)
    monkeypatch.setattr(others, "VIEWS", 3)
    small = partial(build_scene, size=32)
    monkeypatch.setattr("qnerf.scenes.procedural.build.build_scene", small)
    done: list[RunSettings] = []

    def run(settings: RunSettings, command: str) -> Path:
        """As if a run gave the true edit, but for the bystander, which is black in it."""
        done.append(settings)
        folder = tmp_path / "runs" / str(len(done))
        truth = small(int(others.scene(3).split("_")[1]), 3, kind="pair", world=2).truth
        assert truth is not None
        seen = others.bystanders_seen("pair_101", 32)
        assert seen.any()
        (folder / "edited").mkdir(parents=True)
        for index in range(3):
            write_image(folder / "edited" / f"{index:03d}.png", (truth.edited_images[index] * ~seen[index]).numpy())
        write_json(folder / "metrics.json", {"methods": {"full": {"psnr_object": 20.0 + len(done)}}})
        return folder

    monkeypatch.setattr(runs, "run", run)
    others.measure_all(tmp_path, 4, lambda row: row.startswith("pair"))
    assert [settings.schedule.name for settings in done] == ["independent", "transport", "progressive", "posed"]
    assert all(not settings.baselines and settings.scene.path == "procedural:pair_101" for settings in done)
    others.measure_all(tmp_path, 4, lambda row: row.startswith("pair"))
    assert len(done) == len(others.METHODS), "what is measured is not measured again"
    rows = {each["row"]: each for each in others.read(tmp_path / others.RESULTS)}
    assert rows["pair, full"]["psnr_object"] == 22.0
    assert 0 < rows["pair, full"]["bystander"] < 20
    assert others.sheet(tmp_path, tuple(others.ROWS)).ndim == 3
    told = report(studies.STUDIES["others"], tmp_path)
    assert "| pair: the default is nearer than the independent edit | open | 22.00 against 21.00 | 1 | holds, so far |" in told


@pytest.mark.slow
@pytest.mark.integration
def test_the_study_of_other_edits_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another colour, at four small views and a few steps: the default's output is not the source's
    own pixels."""
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    small = ("scene.size=32", "scene.views=4", "steps=4", "source_field.optimiser.iterations=20", "posing.voxels=16",
             "source_field.optimiser.rays_per_batch=128", "posing.samples=16", "field.optimiser.iterations=2",
             "field.optimiser.rays_per_batch=64", "schedule.interval=1")  # fmt: skip
    monkeypatch.setattr(others, "BASE", (*others.BASE, "backbone.dtype=float32", *small))
    monkeypatch.setattr(others, "bystanders_seen", lambda name, size: torch.zeros(16, size, size, dtype=torch.bool))
    others.measure_all(tmp_path, 1, lambda row: row == "recoloured, full")
    (found,) = others.read(tmp_path / others.RESULTS)
    edited = read_image(others.pictures(Path(found["folder"]))[0])
    source = read_image(min(on_demand.ensure_written("procedural:recoloured_101").glob("images/*.png")))
    assert abs(edited - source.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))).max() > 25
