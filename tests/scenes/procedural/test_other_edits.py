"""Scenes with an edit of another kind than the world's: what differs, and what stays."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.runs.inverting import Inverted
from qnerf.runs.posing import unknown_to_posing
from qnerf.scenes.kept import change_mask
from qnerf.scenes.on_demand import OTHER_EDITS
from qnerf.scenes.procedural.build import build_scene, ring_of
from qnerf.scenes.procedural.figure import J
from qnerf.scenes.procedural.other_edits import draw_other_edit
from qnerf.scenes.procedural.phrases import WORDS
from qnerf.scenes.procedural.raycast import geometry
from qnerf.scenes.region import moves
from qnerf.scenes.scene import Scene, Truth

SIZE = 32


@pytest.fixture(scope="module")
def scenes() -> dict[str, tuple[Scene, Truth]]:
    built = {kind: build_scene(101, 4, SIZE, kind=kind, world=2) for kind in OTHER_EDITS}
    return {kind: (scene, scene.truth) for kind, scene in built.items() if scene.truth is not None}


def differing(scene: Scene, truth: Truth) -> torch.Tensor:
    """(N, H, W) bool, pixels that the edit changes."""
    return (scene.images - truth.edited_images).abs().amax(dim=1) > 1e-3


def test_another_colour_moves_nothing_and_changes_the_shirt_alone(scenes: dict[str, tuple[Scene, Truth]]) -> None:
    scene, truth = scenes["recoloured"]
    assert scene.proxy is not None
    assert not moves(scene.proxy)
    assert torch.equal(truth.silhouette_source, truth.silhouette_edited)
    assert torch.equal(truth.depth_source, truth.depth_edited)
    assert (differing(scene, truth) >= truth.moved_edited).all()
    near = torch.nn.functional.max_pool2d(truth.moved_edited.float()[:, None], 3, 1, 1)[:, 0] > 0
    assert (differing(scene, truth) <= near).all()
    before, after = scene.source_prompt.split(), scene.target_prompt.split()
    (changed,) = [
        place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1] and pair[0] not in ("a", "an")
    ]
    assert before[changed + 1] == "shirt"
    for seed in range(12):
        assert set((draw_other_edit("recoloured", seed).edited_caption or "").split()) <= set(WORDS[2])


def test_what_a_prompt_alone_changes_is_left_to_the_model(scenes: dict[str, tuple[Scene, Truth]]) -> None:
    """Posing sees that nothing moves. It must not keep the pixels that the prompt changes."""
    scene, truth = scenes["recoloured"]

    def unknown(scene: Scene) -> torch.Tensor:
        settings = SimpleNamespace(control=SimpleNamespace(margin=0.1))
        return unknown_to_posing(cast(Inverted, SimpleNamespace(scene=scene, settings=settings)))

    doubted = unknown(scene)
    assert (doubted[truth.silhouette_edited] == 1).all()
    assert doubted.mean() < 0.6
    mask = change_mask(scene, 0.1, (torch.zeros_like(doubted), 1 - doubted))
    assert (mask[truth.moved_edited] == 1).all()
    assert not unknown(replace(scene, target_prompt=scene.source_prompt)).any()
    assert not unknown(replace(scenes["sitting"][0], target_prompt="another")).any()


def test_sitting_down_bends_both_legs_and_lowers_the_trunk(scenes: dict[str, tuple[Scene, Truth]]) -> None:
    scene, truth = scenes["sitting"]
    drawn = draw_other_edit("sitting", 101)
    before, after = drawn.joints(), drawn.joints(edited=True)
    assert after[J["pelvis"], 2] < 0.45 * before[J["pelvis"], 2]
    heights = [abs(after[J[f"knee_{side}"], 2] - after[J[f"hip_{side}"], 2]) for side in "lr"]
    assert max(heights) < 0.2
    assert torch.equal(truth.moved_edited, truth.silhouette_edited)
    assert differing(scene, truth).any()


@pytest.mark.parametrize("kind", ["occluded", "pair"])
def test_a_bystander_stays_where_it_is_and_is_no_object(kind: str, scenes: dict[str, tuple[Scene, Truth]]) -> None:
    truth = scenes[kind][1]
    drawn = draw_other_edit(kind, 101)
    ring = ring_of(drawn, 4, SIZE)
    own = len(drawn.shape.solids())
    seen = torch.from_numpy(np.stack([geometry(view, drawn.solids(edited=True))[1] for view in ring]).astype(np.int64))
    bystander = seen >= own
    assert bystander.any()
    assert not (bystander & truth.silhouette_edited).any()
    assert torch.equal(seen >= 0, bystander | truth.silhouette_edited)
    alone = torch.from_numpy(np.stack([geometry(view, drawn.shape.solids(edited=True))[1] for view in ring]).astype(np.int64))
    assert ((alone >= 0) & bystander).any(), "it stands before the object in a view"
    assert (bystander & truth.moved_edited).sum() == 0
    assert truth.plates is not None
    inside = 1 - torch.nn.functional.max_pool2d(1 - bystander.float()[:, None], 3, 1, 1)[:, 0] > 0
    torch.testing.assert_close(truth.plates.permute(0, 2, 3, 1)[inside], truth.edited_images.permute(0, 2, 3, 1)[inside])


def test_scenes_of_the_world_are_what_they_were() -> None:
    """The hash is of the commit before there were other edits."""
    pixels = hashlib.sha256()
    for kind in ("figure", "lamp", "seat", "toy"):
        scene = build_scene(101, 2, SIZE, kind=kind, world=2)
        assert scene.truth is not None
        assert scene.truth.plates is not None
        for each in (scene.images, scene.truth.edited_images, scene.truth.plates, scene.truth.moved_edited):
            pixels.update((each * 255).round().to(torch.uint8).numpy().tobytes())
    assert pixels.hexdigest()[:16] == "74925b6116358f38"


def test_an_unknown_edit_is_refused() -> None:
    with pytest.raises(UserError, match="expected one of recoloured, sitting, occluded, pair"):
        draw_other_edit("melted", 1)
