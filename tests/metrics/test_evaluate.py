"""The figures of one edit together: names, order, and that absent truth leaves only what can be known without it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.config import parse
from qnerf.errors import UserError
from qnerf.fields.settings import RgbFieldSettings
from qnerf.metrics.evaluate import evaluate_group, in_order
from qnerf.metrics.registry import registered
from qnerf.metrics.settings import MetricsSettings
from qnerf.run import CONFIGS
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from tests.metrics.helpers import MetricInputs, metric_settings

QUICK = metric_settings(groups=("fidelity", "consistency", "errors", "silhouette"))


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(seed=2, views=8, size=32)


def evaluate(edited: Tensor, scene: Scene, settings: MetricInputs = QUICK, field_depth: Tensor | None = None) -> dict[str, float]:
    """All groups that the settings measure."""
    figures: dict[str, float] = {}
    for group in settings.metrics.measured():
        figures |= evaluate_group(group, edited, scene, settings, field_depth=field_depth)
    return in_order(figures)


def test_all_figures_have_a_column_and_keep_its_order(scene: Scene) -> None:
    found = evaluate(scene.images, scene, field_depth=torch.full((8, 8, 8), 3.0))
    groups = {*MetricsSettings().groups} - {"heldout"}
    assert list(found) == [
        name for name, metric in registered().items() if metric.compute and (metric.group in groups or name == "field_depth_error")
    ]
    assert 0 < found["field_depth_error"] < 1


def test_without_truth_only_the_general_figures_remain(scene: Scene) -> None:
    bare = dataclasses.replace(scene, truth=None)
    assert evaluate(scene.images, bare, field_depth=torch.full((8, 8, 8), 3.0)) == {}


def test_figures_that_do_not_exist_are_absent(scene: Scene) -> None:
    assert scene.truth is not None
    nothing = torch.zeros_like(scene.truth.moved_edited)
    unmoved = dataclasses.replace(scene, truth=dataclasses.replace(scene.truth, moved_edited=nothing, plates=None))
    found = evaluate(scene.images, unmoved)
    assert not found.keys() & {"warp_error_moved", "warp_error_moved_floor", "psnr_moved", "silhouette_iou"}
    assert "warp_error_object" in found


def test_groups_choose_the_figures_and_floors_never_come_alone(scene: Scene) -> None:
    assert set(evaluate_group("silhouette", scene.images, scene, QUICK)) == {"silhouette_iou", "silhouette_iou_ceiling"}


def test_an_infinite_figure_is_an_error_and_one_that_does_not_exist_is_not() -> None:
    assert in_order({"psnr_object": math.nan, "psnr_truth": 20.0}) == {"psnr_truth": 20.0}
    with pytest.raises(UserError, match="metrics: psnr_object is infinite"):
        in_order({"psnr_object": math.inf})


@pytest.mark.integration
def test_contradicting_views_are_harder_to_foresee_than_true_ones() -> None:
    scene = build_scene(seed=2, views=12, size=24)
    assert scene.truth is not None
    rgb = RgbFieldSettings.model_validate(
        {
            "encoding": "torch",
            "grid": {"finest_resolution": 64, "log2_table_size": 12, "levels": 6},
            "sampling": {"coarse_samples": 24, "fine_samples": 12, "render_samples": 16},
            "optimiser": {"iterations": 120, "rays_per_batch": 256},
        }
    )
    settings = metric_settings(rgb, groups=("heldout",))
    true = scene.truth.edited_images
    contradicting = torch.where((torch.arange(12) % 2 == 0)[:, None, None, None], true, 1 - true)
    found = [evaluate(views, scene, settings) for views in (true, contradicting)]
    assert all(set(figures) == {"heldout_psnr", "heldout_views"} and figures["heldout_views"] == 3 for figures in found)
    assert found[0]["heldout_psnr"] > found[1]["heldout_psnr"] + 3


@pytest.mark.integration
@pytest.mark.slow
def test_with_the_shipped_field_two_pixels_of_contradiction_tell() -> None:
    """The demo's true edited views as they are, and each shifted by up to two pixels of its own."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config"))
    scene, generator = read_scene(settings.scene), torch.Generator().manual_seed(0)
    assert scene.truth is not None
    true = scene.truth.edited_images
    shifts = torch.randint(-2, 3, (len(true), 2), generator=generator).tolist()
    shifted = torch.stack([view.roll(shift, (1, 2)) for view, shift in zip(true, shifts, strict=True)])
    own, other = (evaluate_group("heldout", views, scene, settings)["heldout_psnr"] for views in (true, shifted))
    assert own > 22
    assert own > other + 2
