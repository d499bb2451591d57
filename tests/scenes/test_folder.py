"""A scene written and read back is the same scene; captures of other makers are read as they mean it."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES
from qnerf.scenes.capture import (
    View,
    centre_piece,
    crop_to,
    piece_showing,
    resize,
    undistort,
)
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.fingerprint import scene_fingerprint
from qnerf.scenes.focus import nearest_point_to_axes, radius_from_cameras
from qnerf.scenes.proxies import box_corners, read_proxy
from qnerf.scenes.reader import read_scene
from qnerf.scenes.region import edited_region
from qnerf.scenes.scene import Scene, Truth
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.writer import write_scene


def settings(folder: Path, **changes: Any) -> SceneSettings:
    return SceneSettings(**{"path": str(folder), "size": 64, **changes})


def edit_json(path: Path, **changes: Any) -> None:
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))


@pytest.fixture
def folder(scene: Scene, tmp_path: Path) -> Path:
    write_scene(tmp_path / "noise", scene)
    return tmp_path / "noise"


def test_a_written_scene_is_read_back(scene: Scene, folder: Path) -> None:
    again = read_scene(settings(folder))
    assert (again.name, again.view_names, again.radius) == (scene.name, scene.view_names, scene.radius)
    assert (again.source_prompt, again.target_prompt) == (scene.source_prompt, scene.target_prompt)
    assert torch.equal(again.focus, scene.focus)
    for field in ("camera_to_world", "focal", "centre", "width", "height"):
        assert np.array_equal(getattr(again.cameras, field), getattr(scene.cameras, field))
    assert torch.equal((again.images * 255).round(), (scene.images * 255).round())
    assert scene.proxy is not None
    assert again.proxy is not None
    assert (again.proxy.joints, again.proxy.bones) == (scene.proxy.joints, scene.proxy.bones)
    assert torch.equal(again.proxy.source, scene.proxy.source)
    assert torch.equal(again.proxy.target, scene.proxy.target)


def test_the_truth_is_read_back(scene: Scene, folder: Path) -> None:
    first, again = scene.truth, read_scene(settings(folder)).truth
    assert first is not None
    assert again is not None
    step = json.loads((folder / "truth" / "truth.json").read_text())["depth_scale"]
    tolerances = {"edited_images": 0.5 / 255, "plates": 0.5 / 255, "depth_source": step / 2, "depth_edited": step / 2}
    for field in dataclasses.fields(Truth):
        expected, found = getattr(first, field.name), getattr(again, field.name)
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, atol=tolerances.get(field.name, 0.0) + 1e-6, rtol=0.0)
    assert step < 1e-3


def test_depth_out_of_range_means_no_surface(scene: Scene, tmp_path: Path) -> None:
    assert scene.truth is not None
    depth = scene.truth.depth_edited.clone()
    depth[0, 0, :3] = torch.tensor([1e4, torch.inf, 0.0])
    write_scene(tmp_path / "far", dataclasses.replace(scene, truth=dataclasses.replace(scene.truth, depth_edited=depth)))
    truth = read_scene(settings(tmp_path / "far")).truth
    assert truth is not None
    assert torch.isinf(truth.depth_edited[0, 0]).tolist() == [True] * 3 + [False] * 61


def test_a_scene_without_truth_proxy_and_shared_intrinsics(scene: Scene, tmp_path: Path) -> None:
    cameras = dataclasses.replace(scene.cameras, focal=scene.cameras.focal + torch.arange(4.0)[:, None])
    write_scene(tmp_path / "bare", dataclasses.replace(scene, cameras=cameras, proxy=None, truth=None))
    again = read_scene(settings(tmp_path / "bare"))
    assert again.proxy is None
    assert again.truth is None
    assert torch.equal(again.cameras.focal, cameras.focal)


def test_writing_over_a_scene_is_refused_and_leaves_nothing_behind(scene: Scene, folder: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_scene(folder, scene)
    assert [entry.name for entry in folder.parent.iterdir()] == ["noise"]


def test_size_scales_images_and_intrinsics_together(scene: Scene, folder: Path) -> None:
    half = read_scene(settings(folder, size=32))
    expected = torch.nn.functional.avg_pool2d((scene.images * 255).round() / 255, 2)
    torch.testing.assert_close(half.images, expected, atol=0.6 / 255, rtol=0.0)
    torch.testing.assert_close(half.cameras.focal, scene.cameras.focal / 2)
    torch.testing.assert_close(half.cameras.centre, scene.cameras.centre / 2)
    assert half.truth is not None
    assert half.truth.moved_edited.shape == (4, 32, 32)


def test_views_are_spread_evenly_and_settings_win_over_the_folder(scene: Scene, folder: Path) -> None:
    some = read_scene(settings(folder, views=2, target_prompt="other", focus=(1, 2, 3), radius=9))
    assert some.view_names == ("view_000", "view_002")
    assert torch.equal(some.cameras.camera_to_world, scene.cameras.camera_to_world[[0, 2]])
    assert (some.target_prompt, some.focus.tolist(), some.radius) == ("other", [1, 2, 3], 9)


def test_camera_angle_and_paths_without_extension(scene: Scene, folder: Path) -> None:
    document = json.loads((folder / "transforms.json").read_text())
    frames = [{**frame, "file_path": frame["file_path"].removesuffix(".png")} for frame in document["frames"]]
    angle = 2 * np.arctan(32 / 75.0)
    dropped = dict.fromkeys(("fl_x", "fl_y", "cx", "cy", "w", "h"))
    edit_json(folder / "transforms.json", frames=frames, camera_angle_x=angle, **dropped)
    again = read_scene(settings(folder))
    torch.testing.assert_close(again.cameras.focal, scene.cameras.focal)
    torch.testing.assert_close(again.cameras.centre, scene.cameras.centre)
    assert again.view_names == scene.view_names


def test_missing_images_are_left_out_with_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "images" / "view_001.png").unlink()
    with caplog.at_level(logging.WARNING):
        again = read_scene(settings(folder))
    assert again.view_names == ("view_000", "view_002", "view_003")
    assert again.truth is not None
    assert len(again.truth.depth_edited) == 3
    assert len(caplog.records) == 1
    assert "names 4 images, of which 3 exist; the 1 missing" in caplog.text


@pytest.mark.parametrize("size", [(40, 40), (40, 50), (60, 40)])
def test_crop_and_resize_keep_a_point_on_its_pixel(size: tuple[int, int]) -> None:
    image = np.zeros((120, 80, 3), dtype=np.uint8)
    image[52:56, 40:44] = 255  # its centre is at (42, 54)
    direction = np.array([(42 - 37.0) / 90, (54 - 61.0) / 95])
    view = resize(crop_to(View(image, np.array([90.0, 95.0]), np.array([37.0, 61.0]), np.zeros(5)), size), size)
    weight = view.image[..., 0] / view.image[..., 0].sum()
    columns, rows = (np.arange(count) + 0.5 for count in size)
    found = np.array([(weight.sum(axis=0) * columns).sum(), (weight.sum(axis=1) * rows).sum()])
    np.testing.assert_allclose(direction * view.focal + view.centre, found, atol=0.01)


def test_views_that_are_not_square_are_the_middle_rows_of_square_ones(folder: Path) -> None:
    """Images, truth, regions and drawings alike, where the scale is the same."""
    square, wide = (read_scene(settings(folder, size=size)) for size in (64, (64, 32)))
    rows = slice(16, 48)
    assert (wide.cameras.width, wide.cameras.height) == (64, 32)
    assert torch.equal(wide.images, square.images[:, :, rows])
    assert wide.truth is not None
    assert square.truth is not None
    for name in ("edited_images", "depth_edited", "silhouette_source"):
        assert torch.equal(getattr(wide.truth, name), getattr(square.truth, name)[..., rows, :])
    assert wide.proxy is not None
    around = [edited_region(wide.proxy, s.cameras, size, 0.1).object for s, size in ((wide, (4, 8)), (square, (8, 8)))]
    assert torch.equal(around[0], around[1][:, 2:6])
    depth = [draw_proxy_control(wide.proxy, "target", s.cameras, "loose_depth", (s.cameras.height, 64)) for s in (wide, square)]
    assert torch.equal(depth[0], depth[1][:, :, rows])


def test_undistortion_puts_points_where_a_pinhole_sees_them() -> None:
    distortion = np.array([0.06, -0.08, -0.001, 0.0002, 0.0])
    focal, centre = np.array([300.0, 295.0]), np.array([131.0, 118.0])
    matrix = np.array([[300.0, 0, 130.5], [0, 295.0, 117.5], [0, 0, 1]])  # OpenCV: first pixel centre at 0
    point = np.array([[[0.28, -0.22, 1.0]]])
    seen = cv2.projectPoints(point, np.zeros(3), np.zeros(3), matrix, distortion)[0][0, 0] + 0.5
    rows, columns = np.mgrid[0:240, 0:260] + 0.5
    blob = np.exp(-((columns - seen[0]) ** 2 + (rows - seen[1]) ** 2) / 18)
    image = np.repeat(np.rint(blob * 255).astype(np.uint8)[..., None], 3, axis=2)
    view = undistort(View(image, focal, centre, distortion))
    weight = view.image[..., 0] / view.image[..., 0].sum()
    found = np.array([(weight * columns).sum(), (weight * rows).sum()])
    np.testing.assert_allclose(point[0, 0, :2] * view.focal + view.centre, found, atol=0.05)
    assert np.abs(seen - (point[0, 0, :2] * focal + centre)).max() > 0.3  # the lens did bend it


def test_the_focus_is_where_the_axes_meet(scene: Scene) -> None:
    poses = scene.cameras.camera_to_world.double().numpy()
    focus = nearest_point_to_axes(poses)
    np.testing.assert_allclose(focus, [0.0, 0.0, 0.9], atol=1e-6)
    distance = np.hypot(3.0, 0.5)
    assert radius_from_cameras(poses, focus) == pytest.approx(distance / 2)
    with pytest.raises(UserError, match=r"set scene\.focus and scene\.radius"):
        nearest_point_to_axes(np.stack([poses[0]] * 3))


def test_a_box_by_centre_size_and_yaw(tmp_path: Path) -> None:
    box = {"centre": [1, 2, 3], "size": [2, 4, 6], "yaw": 90}
    taller = {"centre": [1, 2, 4], "size": [2, 4, 8]}
    (tmp_path / "box.json").write_text(json.dumps({"kind": "box", "source": box, "target": taller}))
    proxy = read_proxy(tmp_path / "box.json")
    assert (proxy.kind, proxy.bones, len(proxy.joints)) == ("box", BOX_EDGES, 8)
    turned = {tuple(corner) for corner in proxy.source.round(decimals=4).tolist()}
    assert turned == {(x, y, z) for x in (-1.0, 3.0) for y in (1.0, 3.0) for z in (0.0, 6.0)}
    assert torch.equal(proxy.target, box_corners(torch.tensor([1.0, 2, 4]), torch.tensor([2.0, 4, 8]), 0.0))


def test_the_fingerprint_follows_every_byte_that_is_read(folder: Path, tmp_path: Path) -> None:
    prints = {scene_fingerprint(folder)}
    (folder / "unrelated.txt").write_text("not read")
    assert scene_fingerprint(folder) in prints
    for name in ("transforms.json", "proxy.json", "images/view_000.png", "truth/depth_edited/view_003.png"):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        prints.add(scene_fingerprint(folder))
    other = tmp_path / "box.json"
    other.write_text("{}")
    prints.add(scene_fingerprint(folder, other))
    assert len(prints) == 6


def test_the_fingerprint_of_a_folder_whose_images_are_partly_missing(folder: Path) -> None:
    """As in real captures: the frames that are left out of the scene are left out of its fingerprint too."""
    whole = scene_fingerprint(folder)
    (folder / "images" / "view_000.png").unlink()
    assert scene_fingerprint(folder) not in (whole, "")


@pytest.mark.parametrize(("height", "expected"), [(0.9, 16), (2.7, 0), (-0.9, 32), (2.3, None)])
def test_the_crop_moves_as_little_as_shows_the_edit(height: float, expected: int | None) -> None:
    """A tall photograph of 48 x 80 pixels that looks at (0, 0, 0.9) from 3 away, level: 0.05 of height is a pixel."""
    pose = np.array([[1.0, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 0.9], [0, 0, 0, 1]])
    view = View(np.zeros((80, 48, 3), np.uint8), np.array([60.0, 60.0]), np.array([24.0, 40.0]), np.zeros(5))
    points = np.array([[0.0, 0.0, height - 0.1], [0.0, 0.0, height + 0.1], [0.0, -9.0, 0.0]])  # the last is behind
    left, top, width, tall = piece_showing(view, pose, points, (32, 32))
    assert (left, width, tall) == (0, 48, 48)
    rows = 40 - 60 * (points[:2, 2] - 0.9) / 3
    if expected is not None:
        assert top == expected
    else:  # between: the point's row, less the rim, is the first
        assert top == round(rows.min() - 0.04 * 48)
    assert centre_piece(48, 80, (32, 32)) == (0, 16, 48, 48)
