"""What the figures say about known edits of a known scene: a perfect one, a shifted view, a blurred one, none at all."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.metrics.evaluate import evaluate_group
from qnerf.metrics.silhouette import calibrated_threshold, silhouette_iou
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Scene, Truth
from tests.metrics.helpers import metric_settings

SETTINGS = metric_settings()
WORSE = {"perfect": False, "shifted": True, "blurred": True, "none": True, "flat": True}


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(seed=2, views=8, size=64)


@pytest.fixture(scope="module")
def edits(scene: Scene) -> dict[str, Tensor]:
    assert scene.truth is not None
    true = scene.truth.edited_images
    jittered = torch.stack([torch.roll(view, 1 - 2 * (index % 2), dims=2) for index, view in enumerate(true)])
    blurred = F.avg_pool2d(F.pad(true, (2, 2, 2, 2), mode="replicate"), 5, 1)
    flat = true.mean(dim=(0, 2, 3))[None, :, None, None].expand_as(true)
    return {"perfect": true, "shifted": jittered, "blurred": blurred, "none": scene.images, "flat": flat}


@pytest.fixture(scope="module")
def figures(scene: Scene, edits: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    groups = ("fidelity", "consistency", "errors", "silhouette")
    return {
        name: {key: value for group in groups for key, value in evaluate_group(group, edit, scene, SETTINGS).items()}
        for name, edit in edits.items()
    }


def test_a_perfect_edit_reaches_every_bound(figures: dict[str, dict[str, float]]) -> None:
    found = figures["perfect"]
    for name in ("warp_error_object", "warp_error_moved"):
        assert found[name] == found[f"{name}_floor"]
    assert found["silhouette_iou"] == found["silhouette_iou_ceiling"]
    assert found["psnr_object"] == found["psnr_truth"] == pytest.approx(100)
    assert found["ssim_truth"] == pytest.approx(1, abs=1e-4)
    assert found["silhouette_iou"] >= 0.95


def test_the_parts_of_the_error_tell_agreement_from_truth(figures: dict[str, dict[str, float]]) -> None:
    """No edit at all agrees with itself: its error is that of the mean; a jitter's is about it."""
    assert figures["perfect"]["error_of_mean"] == figures["perfect"]["error_about_mean"] == 0
    assert figures["none"]["error_of_mean"] > 3 * figures["none"]["error_about_mean"] > 0
    assert figures["shifted"]["error_about_mean"] > 2 * figures["shifted"]["error_of_mean"] > 0


def test_the_floor_is_the_same_for_every_edit(figures: dict[str, dict[str, float]]) -> None:
    floors = {tuple(value for key, value in found.items() if key.endswith(("_floor", "_ceiling"))) for found in figures.values()}
    assert len(floors) == 1
    assert all(0 < value < 0.06 for value in next(iter(floors))[:2])


def test_a_shift_of_a_pixel_is_plainly_above_the_floor(figures: dict[str, dict[str, float]]) -> None:
    found = figures["shifted"]
    assert found["warp_error_object"] > 1.5 * found["warp_error_object_floor"]
    assert found["warp_error_moved"] > 1.5 * found["warp_error_moved_floor"]
    assert found["psnr_object"] < 25


def test_no_edit_is_perfect_in_the_background_and_wrong_where_the_edit_moved(
    figures: dict[str, dict[str, float]],
) -> None:
    found = figures["none"]
    assert found["psnr_background"] > 35  # only the shadow changed
    assert found["psnr_moved"] < 20
    assert found["warp_error_moved"] > 1.5 * found["warp_error_moved_floor"]
    assert found["warp_error_moved"] > found["warp_error_object"]
    assert found["silhouette_iou"] < found["silhouette_iou_ceiling"] - 0.1


def test_a_flat_picture_is_perfectly_consistent_and_nothing_else(figures: dict[str, dict[str, float]]) -> None:
    flat, shifted = figures["flat"], figures["shifted"]
    assert flat["warp_error_object"] < 1e-6
    for name in ("psnr_object", "psnr_truth", "ssim_truth", "psnr_background"):
        assert flat[name] < shifted[name]


def test_blur_is_punished_by_fidelity_more_than_it_gains_in_consistency(figures: dict[str, dict[str, float]]) -> None:
    blurred, shifted = figures["blurred"], figures["shifted"]
    assert blurred["warp_error_object"] < shifted["warp_error_object"]
    assert blurred["ssim_truth"] < 0.9
    assert blurred["psnr_object"] < 30


@pytest.mark.parametrize("name", WORSE)
def test_only_the_perfect_edit_wins_overall(figures: dict[str, dict[str, float]], name: str) -> None:
    """Consistent *and* faithful: within 1.5 floors, and above 35 dB on the object."""
    found = figures[name]
    wins = found["warp_error_moved"] <= 1.5 * found["warp_error_moved_floor"] and found["psnr_object"] > 35
    assert wins != WORSE[name]


def square_truth(contrast: float) -> Truth:
    """A square of 40 of the 100 pixels, brighter than its background by `contrast`."""
    inside = torch.zeros(1, 10, 10, dtype=torch.bool)
    inside[:, :4] = True
    plates = torch.full((1, 3, 10, 10), 0.5)
    images = torch.where(inside[:, None], plates + contrast, plates)
    depth = torch.ones(1, 10, 10)
    return Truth(images, depth, depth, inside, inside, inside, plates)


def test_silhouette_overlap_by_hand() -> None:
    truth = square_truth(0.3)
    moved = torch.roll(truth.edited_images, 2, dims=2)  # rows 2 to 5: 20 pixels shared, 60 in the union
    assert silhouette_iou(truth.edited_images, truth, 0.08) == 1
    assert silhouette_iou(moved, truth, 0.08) == pytest.approx(20 / 60)
    assert truth.plates is not None
    assert silhouette_iou(truth.plates, truth, 0.08) == 0
    assert math.isnan(silhouette_iou(moved, dataclasses.replace(truth, plates=None), 0.08))


def test_the_threshold_is_lowered_for_an_object_of_the_backgrounds_colour() -> None:
    for contrast, expected in ((0.3, 0.08), (0.05, 0.05)):
        truth = square_truth(contrast)
        assert truth.plates is not None
        assert calibrated_threshold(truth, truth.plates, 0.08) == pytest.approx(expected)
        assert silhouette_iou(truth.edited_images, truth, 0.08) == 1
