"""The figures of one edit together: names, order, and that absent truth leaves only what can be known without it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from qnerf.fields.settings import RgbFieldSettings
from qnerf.metrics.evaluate import COMPARISON_COLUMNS, evaluate_edit
from qnerf.metrics.settings import MetricsSettings
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Scene

QUICK = MetricsSettings(groups=("fidelity", "consistency", "silhouette"))
RGB = RgbFieldSettings.model_validate({})


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(seed=2, views=4, size=32)


def test_all_figures_have_a_column_and_keep_its_order(scene: Scene) -> None:
    extra: dict[str, Any] = {"reconstruction": scene.images, "round_trip": scene.images * 0.9}
    found = evaluate_edit(scene.images, scene, QUICK, RGB, seed=0, field_depth=torch.full((4, 8, 8), 3.0), **extra)
    assert list(found) == [name for name in COMPARISON_COLUMNS if name != "heldout_psnr"]
    assert 0 < found["field_depth_error"] < 1


def test_without_truth_only_the_general_figures_remain(scene: Scene) -> None:
    bare = dataclasses.replace(scene, truth=None)
    depth = torch.full((4, 8, 8), 3.0)
    found = evaluate_edit(
        scene.images, bare, QUICK, RGB, 0, reconstruction=scene.images, round_trip=scene.images, field_depth=depth
    )
    assert found == {"reconstruction_psnr": pytest.approx(100)}


def test_figures_that_do_not_exist_are_absent(scene: Scene) -> None:
    assert scene.truth is not None
    nothing = torch.zeros_like(scene.truth.moved_edited)
    unmoved = dataclasses.replace(scene, truth=dataclasses.replace(scene.truth, moved_edited=nothing, plates=None))
    found = evaluate_edit(scene.images, unmoved, QUICK, RGB, seed=0)
    assert not found.keys() & {"consistency_moved", "consistency_moved_floor", "psnr_moved", "silhouette_iou"}
    assert "consistency_object" in found


@pytest.mark.integration
def test_contradicting_views_are_harder_to_foresee_than_true_ones() -> None:
    scene = build_scene(seed=2, views=12, size=24)
    assert scene.truth is not None
    rgb = RgbFieldSettings.model_validate(
        {
            "grid": {"encoding": "torch", "finest_resolution": 64, "log2_table_size": 12, "levels": 6},
            "sampling": {"coarse_samples": 24, "fine_samples": 12, "render_samples": 16},
            "optimiser": {"iterations": 120, "rays_per_batch": 256},
        }
    )
    settings = MetricsSettings(groups=("heldout",))
    true = scene.truth.edited_images
    contradicting = torch.where((torch.arange(12) % 2 == 0)[:, None, None, None], true, 1 - true)
    found = [evaluate_edit(views, scene, settings, rgb, seed=0) for views in (true, contradicting)]
    assert all(set(figures) == {"heldout_psnr"} for figures in found)
    assert found[0]["heldout_psnr"] > found[1]["heldout_psnr"] + 3
