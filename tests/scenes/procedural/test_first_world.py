"""World 1 is pinned: the first embedded weights were trained on it, and the shipped demo scene is of it.

world_1.npz holds what the code drew when those weights were trained. Another CPU rounds otherwise (by up to .0008 of a colour),
and pixels at a silhouette's edge may go either way, so a thousandth of them may differ by more than half an 8-bit level; on one
machine the pictures are equal to the bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.procedural.samples import render_sample

HALF_A_LEVEL = 1 / 512
STORED = dict(np.load(Path(__file__).with_name("world_1.npz")))


def assert_same(found: np.ndarray, name: str) -> None:
    assert found.shape == STORED[name].shape
    assert (np.abs(found.astype(float) - STORED[name].astype(float)) > HALF_A_LEVEL).mean() < 1e-3, name


@pytest.mark.parametrize("seed", [3, 17])
def test_training_samples_are_what_they_were(seed: int) -> None:
    sample = render_sample(seed, 32)
    assert sample.caption == str(STORED[f"sample_{seed}_caption"])
    assert_same(sample.image, f"sample_{seed}_image")
    for detail, drawing in sample.controls.items():
        assert_same(np.rint(drawing * 255), f"sample_{seed}_{detail}")


def test_whole_scenes_are_what_they_were() -> None:
    scene = build_scene(5, views=2, size=32)
    assert scene.truth is not None
    assert scene.proxy is not None
    assert scene.proxy.source_bounds is None
    assert scene.source_prompt == scene.target_prompt == str(STORED["scene_caption"])
    assert_same(scene.images.numpy(), "scene_images")
    assert_same(scene.truth.edited_images.numpy(), "scene_edited")
    assert_same(scene.truth.depth_edited.numpy(), "scene_depth")
    assert_same(scene.truth.moved_edited.numpy(), "scene_moved")
    assert_same(scene.proxy.target.numpy(), "scene_joints")
