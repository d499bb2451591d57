"""The loosest controls: bounds from a proxy alone, their depth against a slow reference, their file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES, ball_round, bounding_box, box_from_corners, proxy_bounds
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.controls import draw_control, draw_proxy_control
from qnerf.scenes.loose_depth import FARTHEST, bounds_distance, draw_loose_depth, loose_depth_image
from qnerf.scenes.procedural.samples import draw_details, draw_sample
from qnerf.scenes.procedural.world import KINDS, draw_scene
from qnerf.scenes.proxies import read_proxy, write_proxy
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import FAR, Capsule
from tests.scenes.conftest import BONES, JOINTS

SIZE = (48, 48)


@pytest.fixture
def proxy(figure: Tensor) -> Proxy:
    """A skeleton of an old folder, without bounds; its left hand goes up."""
    target = figure.clone()
    target[5] += torch.tensor([0.1, 0.0, 0.8])
    return Proxy("skeleton", JOINTS, BONES, figure, target)


def test_against_a_slow_reference(proxy: Proxy, cameras: Cameras) -> None:
    """Every ray meets every solid; greys by the formula in the module's docstring."""
    drawn = draw_loose_depth(proxy, "target", cameras, SIZE)
    assert drawn.shape == (4, 3, *SIZE)
    source, target = proxy_bounds(proxy, "source").solids, proxy_bounds(proxy, "target").solids
    centre, radius = ball_round([*source, *target])
    rays = cameras.resized(*SIZE).token_rays(*SIZE)
    for view in range(2):
        origin, directions = rays.origins[view, 0, 0].double().numpy(), rays.directions[view].reshape(-1, 3).numpy()
        t = np.stack([solid.intersect(origin, directions) for solid in target]).min(axis=0)
        grey = 1 - 0.8 * (t - np.linalg.norm(centre - origin) + radius) / (2 * radius)
        expected = np.where(t < FAR, grey, 0).reshape(SIZE)
        np.testing.assert_allclose(drawn[view, 0].numpy(), expected, atol=1e-4)
        assert torch.equal(drawn[view, 0], drawn[view, 2])


def test_distances_are_those_that_the_greys_show(proxy: Proxy, cameras: Cameras) -> None:
    found, drawn = bounds_distance(proxy, "target", cameras, SIZE), draw_loose_depth(proxy, "target", cameras, SIZE)[:, 0]
    assert found.shape == drawn.shape
    assert torch.equal(torch.isfinite(found), drawn > 0)
    centre, radius = ball_round([*proxy_bounds(proxy, "source").solids, *proxy_bounds(proxy, "target").solids])
    away = (cameras.camera_to_world[:, :3, 3] - torch.from_numpy(centre).float()).norm(dim=-1)[:, None, None]
    grey = 1 - 0.8 * (found - away + radius) / (2 * radius)
    torch.testing.assert_close(grey[drawn > 0], drawn[drawn > 0], atol=1e-4, rtol=0)


def test_greys_worked_by_hand() -> None:
    """A ball that fills the ball of reference is 1 where it is nearest; one at its far end is FARTHEST there."""
    ray, origin = np.array([[[1.0, 0.0, 0.0]]]), np.array([-5.0, 0.0, 0.0])
    whole = Capsule(np.zeros(3), np.zeros(3), 2.0, "bound")
    assert loose_depth_image(origin, ray, [whole], (np.zeros(3), 2.0))[0, 0, 0] == pytest.approx(1.0)
    far = Capsule(np.array([2.0, 0, 0]), np.array([2.0, 0, 0]), 1e-3, "bound")
    assert loose_depth_image(origin, ray, [far], (np.zeros(3), 2.0))[0, 0, 0] == pytest.approx(FARTHEST, abs=1e-3)
    assert loose_depth_image(origin, -ray, [whole], (np.zeros(3), 2.0)).max() == 0


def test_what_the_edit_leaves_alone_keeps_its_grey(proxy: Proxy, cameras: Cameras) -> None:
    before, after = (draw_proxy_control(proxy, state, cameras, "loose_depth", SIZE) for state in ("source", "target"))
    differs = (before - after).abs().amax(dim=1) > 1e-3
    assert differs.any()
    assert not differs[:, 32:].any()  # the legs


def test_a_proxy_without_bounds_has_capsules_round_its_bones_and_a_box_round_its_joints(proxy: Proxy, cameras: Cameras) -> None:
    bounds = proxy_bounds(proxy, "target")
    assert len(bounds.solids) == len(BONES)
    height = float(proxy.source[:, 2].max() - proxy.source[:, 2].min())
    assert all(isinstance(solid, Capsule) and solid.radius == pytest.approx(0.11 * height) for solid in bounds.solids)
    assert torch.equal(bounds.corners, bounding_box(proxy.target))
    drawn = draw_proxy_control(proxy, "target", cameras, "box", SIZE)
    assert torch.equal(drawn, draw_control(proxy.target, BONES, cameras, "box", SIZE))


def test_a_box_proxy_is_its_own_bound(figure: Tensor, cameras: Cameras) -> None:
    corners = bounding_box(figure) @ torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]).T
    box = box_from_corners(corners.double().numpy())
    np.testing.assert_allclose(2 * np.sort(box.half), np.sort((figure.amax(0) - figure.amin(0)).numpy()), atol=1e-5)
    proxy = Proxy("box", tuple("abcdefgh"), BOX_EDGES, corners, corners)
    drawn = draw_proxy_control(proxy, "source", cameras, "loose_depth", SIZE)
    assert 0.05 < (drawn > 0).float().mean() < 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_one_view_of_a_sample_is_the_scene_folders_drawing(kind: str) -> None:
    """Training draws with numpy and runs with torch: the same control."""
    scene, view = draw_sample(4, 48, kind, 2)
    pose = torch.tensor(view.camera_to_world, dtype=torch.float32)[None]
    cameras = Cameras(pose, torch.full((1, 2), view.focal), torch.full((1, 2), 24.0), 48, 48)
    details = ("bones", "joints", "ends", "loose_depth", "box")
    for detail, drawing in draw_details(scene, view, details).items():
        whole = draw_proxy_control(scene.proxy(), "source", cameras, detail, SIZE)[0].numpy()
        assert (np.abs(whole - drawing) > 0.05).mean() < 0.01, detail


def test_bounds_come_back_from_their_file(tmp_path: Path) -> None:
    for kind in KINDS:
        proxy = draw_scene(3, "heldout", kind, 2).proxy()
        write_proxy(tmp_path / "proxy.json", proxy, world=2)
        again = read_proxy(tmp_path / "proxy.json")
        assert json.loads((tmp_path / "proxy.json").read_text())["world"] == 2
        for first, second in ((proxy.source_bounds, again.source_bounds), (proxy.target_bounds, again.target_bounds)):
            assert first is not None
            assert second is not None
            assert torch.equal(first.corners, second.corners)
            for one, other in zip(first.solids, second.solids, strict=True):
                (points, radius), (others, other_radius) = one.hull(), other.hull()
                ends, other_ends = points.max(axis=0) + radius, others.max(axis=0) + other_radius
                np.testing.assert_allclose(ends, other_ends, atol=0.02)  # a box's rounding is not in the file


def test_a_hand_written_list_of_bounds_needs_no_box(proxy: Proxy, tmp_path: Path) -> None:
    write_proxy(tmp_path / "proxy.json", proxy)
    document = json.loads((tmp_path / "proxy.json").read_text())
    bounds = {"solids": [{"centre": [0, 0, 1], "size": [1, 1, 2], "yaw": 0}, {"start": [0, 0, 2], "end": [0, 0, 3], "radius": 0.5}]}
    document |= {"source_bounds": bounds, "target_bounds": bounds}
    (tmp_path / "proxy.json").write_text(json.dumps(document))
    read = read_proxy(tmp_path / "proxy.json").source_bounds
    assert read is not None
    torch.testing.assert_close(read.corners, bounding_box(torch.tensor([[-0.5, -0.5, 0.0], [0.5, 0.5, 3.5]])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_bounds": {"solids": []}}, "has no list 'solids'"),
        ({"source_bounds": {"solids": [{"start": [0, 0, 0], "end": [0, 0, 1], "radius": 0}]}}, "solid 0 is .* expected a capsule"),
        ({"source_bounds": {"solids": [{"centre": [0, 0, 0], "size": [1, -1, 1]}]}}, "solid 0 is .* a size above 0"),
        ({"source_bounds": {"solids": [{"ball": 1}]}}, "solid 0 is .* correct it"),
        ({"source_bounds": {"solids": [{"centre": [0, 0, 0], "size": [1, 1, 1]}], "box": [1]}}, "not 8 x 3 finite numbers"),
        ({"source_bounds": {"solids": [{"centre": [0, 0, 0], "size": [1, 1, 1]}]}}, "only one of source_bounds and target_bounds"),
        ({"world": 7}, "world = 7, expected one of 1, 2"),
    ],
)
def test_what_is_wrong_with_bounds_is_said(proxy: Proxy, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "proxy.json"
    write_proxy(path, proxy)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=message):
        read_proxy(path)


def test_bounds_are_taken_as_given(proxy: Proxy, cameras: Cameras) -> None:
    ball = Bounds((Capsule(np.array([0, 0, 0.9]), np.array([0, 0, 0.9]), 0.3, "bound"),), bounding_box(proxy.source))
    bounded = dataclasses.replace(proxy, source_bounds=ball, target_bounds=ball)
    drawn = draw_proxy_control(bounded, "source", cameras, "loose_depth", SIZE)
    assert drawn[:, 0, 24, 24].min() > 0.9
    assert drawn[:, :, :, :10].max() == 0
