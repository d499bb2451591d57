"""The scripts of experiments/ on a random backbone."""

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import initialize_config_dir

from qnerf.backbones.puppet import TINY, build_puppet
from qnerf.benchmark.cells import BenchmarkCell
from qnerf.metrics.warp import surface_points
from qnerf.pretrain.export import save_parts
from qnerf.run import CONFIGS
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Truth
from qnerf.scenes.writer import write_scene
from qnerf.schedules.phases import plain_steps
from qnerf.sweeps.sweep import sweep
from tests.metrics.test_warp import SIZE, cameras_at, everywhere, plane_depth
from tests.schedules.helpers import layers, make_job, tiny_field
from tests.test_run import SMALL

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{Path(script).stem}", EXPERIMENTS / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their types up
    spec.loader.exec_module(module)
    return module


def test_every_variant_of_the_field_study_is_a_setting() -> None:
    study = load("field/study.py")
    same = ("8²", "16²", "32²", study.WARM + "optimiser.iterations=400")  # other maps, or another start
    changes = [change for group in study.STUDIES.values() for change in group if change not in same]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = study.settings_of("asset:puppet_a").field
        assert plain.hold_out_every == 4
        for change in changes:
            assert study.settings_of("asset:puppet_a", change).field != plain, change


def test_the_field_study_measures_by_resolution() -> None:
    study = load("field/study.py")
    job, _ = make_job()
    chosen = layers(8, 10, 13)
    _, queries = plain_steps(job, job.trajectory.states[0], 0, 3, capture_at=(1, 2), layers=chosen)
    captured = study.Captured(job, queries[2], queries[1])
    field = tiny_field().model_copy(update={"hold_out_every": 2})
    found, seconds = study.explained(captured, field, "")
    sizes = [study.size_of(job, layer) for layer in chosen]
    assert list(found) == sizes
    assert seconds > 0
    alone, _ = study.explained(captured, field, sizes[1])
    assert list(alone) == [sizes[1]]
    assert alone[sizes[1]] != pytest.approx(found[sizes[1]])
    warm, _ = study.explained(captured, field, study.WARM + "optimiser.iterations=2")
    assert warm != found
    assert study.row("x", [({"8²": 0.5}, 2.0), ({"8²": 0.25}, 4.0)], ["8²", "16²"], 1.5) == "| x | 0.375 (0.50, 0.25) | - | 2.00 |"


@pytest.mark.integration
def test_the_field_study_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the embedded backbone, at four views and a few steps: a row for the default and for every variant asked for."""
    study = load("field/study.py")
    small = [
        "scene.views=4",
        "inversion.steps=4",
        "schedule.interval=1",
        "field.hold_out_every=2",
        "field.optimiser.rays_per_batch=64",
    ]
    monkeypatch.setattr(study, "BASE", small)
    monkeypatch.setattr(study, "STUDIES", {"few": ["optimiser.iterations=2"], "warm": [study.WARM + "optimiser.iterations=1"]})
    monkeypatch.setattr(study, "STEP", 1)
    monkeypatch.setattr(study, "EARLIER", 0)
    monkeypatch.setattr(sys, "argv", ["study.py", "--scenes", "asset:puppet_a", "--only", "few,warm"])
    study.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in rows] == [
        "field", "the default", "`optimiser.iterations=2`", "`optimiser.iterations=1`, started from the field of step 0",
    ]  # fmt: skip


SHARED = "consolidation/shared_error.py"


@pytest.fixture
def plane() -> tuple[Cameras, Truth]:
    """Four cameras over the plane z = -2, which is the whole object and grey."""
    cameras = cameras_at([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0], [0.0, 0.25, 0.0], [0.25, 0.25, 0.0]])
    depth, everything = plane_depth(cameras, -2.0), everywhere(cameras)
    grey = torch.full((4, 3, *depth.shape[1:]), 0.5)
    return cameras, Truth(grey, depth, depth, everything, everything, everything)


@pytest.mark.parametrize(
    ("errors", "shared", "own"),
    [((0.2, 0.2, 0.2, 0.2), 0.04, 0.0), ((0.2, -0.2, 0.2, -0.2), 0.0, 0.04), ((0.4, 0.0, 0.0, 0.0), 0.01, 0.03)],
)
def test_an_error_is_split_into_what_views_share_and_what_each_has_of_its_own(
    plane: tuple[Cameras, Truth], errors: tuple[float, ...], shared: float, own: float
) -> None:
    cameras, truth = plane
    edited = truth.edited_images + torch.tensor(errors)[:, None, None, None]
    middle = torch.zeros_like(truth.silhouette_edited)
    middle[0, 6:-6, 6:-6] = True  # which all four see
    found = load(SHARED).split_error(edited, truth, middle, cameras, 0.1)
    assert found.shared == pytest.approx(shared, abs=1e-6)
    assert found.own == pytest.approx(own, abs=1e-6)


def test_the_parts_of_an_error_are_those_of_a_loop_over_points(plane: tuple[Cameras, Truth]) -> None:
    """Errors that vary linearly in space survive resampling, so that what each view shows of a point is known without it."""
    cameras, truth = plane
    points = surface_points(truth.depth_edited, cameras)
    slope, offset = torch.tensor([0.3, -0.2, 0.1, 0.05]), torch.tensor([0.1, 0.0, -0.05, 0.02])
    truth = replace(truth, edited_images=torch.zeros_like(truth.edited_images))
    error = slope[:, None, None] * points[..., 0] + offset[:, None, None]
    counted = torch.rand_like(truth.depth_edited) < 0.3
    found = load(SHARED).split_error(error[:, None].repeat(1, 3, 1, 1), truth, counted, cameras, 0.1)
    shared, own = [], []
    for view, row, column in counted.nonzero().tolist():
        point = points[view, row, column]
        shown = []
        for other in range(4):
            at = (cameras[[other]].project(point[None, None])[0][0, 0] - 0.5).tolist()
            if other == view or all(math.floor(a) >= 0 and math.floor(a) + 1 < SIZE for a in at):
                shown.append(float(slope[other] * point[0] + offset[other]))
        if len(shown) >= 3:
            mean = sum(shown) / len(shown)
            shared.append(mean**2)
            own.append(sum((e - mean) ** 2 for e in shown) / len(shown))
    assert found.shared == pytest.approx(sum(shared) / len(shared), rel=1e-3)
    assert found.own == pytest.approx(sum(own) / len(own), rel=1e-3)
    assert found.decibels < found.decibels_agreed


@pytest.mark.integration
def test_the_shared_errors_of_a_finished_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(tmp_path / "puppet_0", build_scene(0, views=8, size=32))
    save_parts(build_puppet(0, TINY), tmp_path / "backbone")
    paths = [f"scene.path={tmp_path / 'puppet_0'}", f"backbone.path={tmp_path / 'backbone'}", f"output_dir={tmp_path}"]
    quick = ["inversion.warn_below_psnr=0", "metrics=quick", "baselines=[independent]", "seed=0,1"]
    assert sweep(["-m", *paths, *SMALL, *quick], CONFIGS) == 0
    capsys.readouterr()
    [results] = tmp_path.glob("sweeps/*/results.csv")
    script = load(SHARED)
    assert script.main([str(results.parent)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows] == ["| method", "| independent", "| full"] * 2
    assert rows[-2][3:5] == ["100%", "100%"]
    assert not any("nan" in cell for row in rows for cell in row)
    monkeypatch.setattr(script, "LEAST_VIEWS", 9)
    assert script.main([str(results.parent)]) == 2
    assert "no point is seen by 9 of its 8 views" in capsys.readouterr().err
    monkeypatch.setattr(BenchmarkCell, "disagrees", False)
    assert script.main([str(results.parent)]) == 2
    assert "disagrees enough" in capsys.readouterr().err
    assert script.main([str(tmp_path / "nowhere")]) == 2
    assert "cannot be read" in capsys.readouterr().err
