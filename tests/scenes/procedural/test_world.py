"""The puppet world against slow obvious references and facts that must hold of any scene."""

import numpy as np
import pytest
import torch

from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.procedural.captions import COLOURS, VOCABULARY, draw_colour
from qnerf.scenes.procedural.figure import BONES, JOINTS, J, figure_joints
from qnerf.scenes.procedural.puppet import Puppet
from qnerf.scenes.procedural.raycast import cast, geometry
from qnerf.scenes.procedural.samples import orbit_camera, render_sample
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.world import draw_scene
from qnerf.scenes.solids import FAR


def draw_figure(seed: int, split: str) -> Puppet:
    shape = draw_scene(seed, split).shape
    assert isinstance(shape, Puppet)
    return shape


def test_windows_hide_nothing() -> None:
    """Casting with the bounding rectangles equals casting every solid over the whole picture."""
    scene = draw_scene(11, "heldout")
    view, solids = orbit_camera(0.7, 0.4, 3.4, 48), scene.solids()
    directions = view.directions(48)
    depth, nearest = cast(view, solids, 48, directions)
    every = np.stack([solid.intersect(view.camera_to_world[:3, 3], directions) for solid in solids])
    np.testing.assert_allclose(depth, every.min(axis=0), atol=1e-5)
    assert np.array_equal(nearest >= 0, every.min(axis=0) < FAR)


def test_depth_puts_points_on_the_surface_it_names() -> None:
    scene = draw_scene(3, "heldout")
    view, solids = orbit_camera(2.0, 0.3, 3.4, 64), scene.solids()
    depth, solid = geometry(view, solids)
    points = view.camera_to_world[:3, 3] + depth.reshape(-1, 1) * view.directions(64)
    floor = (solid.reshape(-1) < 0) & (depth.reshape(-1) < FAR)
    np.testing.assert_allclose(points[floor][:, 2], 0, atol=1e-4)
    for index in np.unique(solid[solid >= 0]):
        part, on = solids[index], points[solid.reshape(-1) == index]
        axis = part.end - part.start
        along = np.clip((on - part.start) @ axis / max(axis @ axis, 1e-12), 0, 1)
        distance = np.linalg.norm(on - part.start - along[:, None] * axis, axis=1)
        np.testing.assert_allclose(distance, part.radius, atol=1e-3)


def test_a_seed_says_everything_and_splits_differ() -> None:
    first, again = render_sample(17, 32), render_sample(17, 32)
    assert np.array_equal(first.image, again.image)
    assert first.caption == again.caption
    assert not np.array_equal(first.image, render_sample(18, 32).image)
    assert draw_scene(17, "train").caption != draw_scene(17, "heldout").caption or not np.allclose(
        draw_scene(17, "train").joints(), draw_scene(17, "heldout").joints()
    )


def test_sample_holds_what_training_needs() -> None:
    sample = render_sample(5)
    assert sample.image.shape == (3, 128, 128)
    assert sample.image.dtype == np.float32
    assert 0 <= sample.image.min() < sample.image.max() <= 1
    assert set(sample.controls) == {"bones", "joints", "ends"}
    assert all(drawing.shape == (3, 128, 128) and drawing.max() > 0.5 for drawing in sample.controls.values())
    assert set(sample.caption.split()) <= set(VOCABULARY)


def test_the_edit_raises_one_hand_and_moves_nothing_else() -> None:
    for seed in range(30):
        scene = draw_scene(seed, "heldout")
        before, after = scene.joints(), scene.joints(edited=True)
        moved = {JOINTS[i] for i in np.flatnonzero(np.abs(before - after).max(axis=1) > 1e-6)}
        side = "l" if "hand_l" in moved else "r"
        assert moved == {f"elbow_{side}", f"hand_{side}"}
        assert after[J[f"elbow_{side}"], 2] > before[J[f"elbow_{side}"], 2]


def test_bones_keep_their_length_and_feet_stand_on_the_floor() -> None:
    for seed in range(20):
        figure = draw_figure(seed, "heldout")
        joints = figure.joints()
        bones = {(JOINTS[a], JOINTS[b]): np.linalg.norm(joints[a] - joints[b]) for a, b in BONES}
        assert bones["shoulder_l", "elbow_l"] == pytest.approx(figure.body.upper_arm)
        assert bones["knee_r", "foot_r"] == pytest.approx(figure.body.shin)
        assert min(joints[J["foot_l"], 2], joints[J["foot_r"], 2]) == pytest.approx(0.9 * figure.body.leg_radius)
        turned = figure_joints(figure.body, figure.pose)
        assert np.array_equal(turned, joints)


def test_what_no_caption_names_varies_between_scenes_of_equal_captions() -> None:
    scenes = [draw_scene(seed, "train") for seed in range(200)]
    figures = [draw_figure(seed, "train") for seed in range(200)]
    assert len({figure.extras for figure in figures}) >= 6
    assert len({scene.around.pattern for scene in scenes}) == 5
    assert np.std([figure.body.arm_radius for figure in figures]) > 0.005
    assert 0.2 < np.mean([scene.paints["shirt"].stripes > 0 for scene in scenes]) < 0.6


def test_colour_names_can_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    means = {name: np.mean([draw_colour(name, rng) for _ in range(40)], axis=0) for name in COLOURS}
    for name in COLOURS:
        for _ in range(20):
            colour = draw_colour(name, rng)
            assert min(means, key=lambda other: np.abs(means[other] - colour).sum()) == name


def test_shadow_lies_under_the_figure_and_fades() -> None:
    scene = draw_scene(2, "heldout")
    shadow = ContactShadow(scene.solids(), np.array([0.0, 0.0, 1.0], dtype=np.float32))
    feet = scene.joints()[[J["foot_l"], J["foot_r"]], :2].astype(np.float32)
    assert shadow(*feet.T).min() > 0.5
    assert shadow(*np.full((2, 1), 2.2, dtype=np.float32)).max() == 0


def test_scene_truth_fits_together() -> None:
    scene = build_scene(4, views=3, size=64)
    truth, proxy = scene.truth, scene.proxy
    assert truth is not None
    assert proxy is not None
    assert truth.plates is not None
    changed = (scene.images - truth.edited_images).abs().amax(dim=1) > 0.1
    assert (truth.moved_edited & ~truth.silhouette_edited).sum() == 0
    # away from both silhouettes only the shadow differs, so a visible change there is rare
    assert (changed & ~(truth.silhouette_source | truth.silhouette_edited)).float().mean() < 0.05
    outside = ~truth.silhouette_source
    assert (scene.images - truth.plates).abs().amax(dim=1)[outside].median() < 0.02
    # the joints project to where the silhouette is
    pixels, _depth = scene.cameras.project(proxy.source)
    for view in range(3):
        x, y = pixels[view].round().long().clamp(0, 63).T
        assert truth.silhouette_source[view, y, x].float().mean() > 0.85
        seen = truth.depth_source[view, y, x]
        behind = (proxy.source - scene.cameras.positions[view]).norm(dim=-1)
        assert (seen <= behind + 0.02).float().mean() > 0.95
    assert torch.isfinite(truth.depth_edited).all()
