"""Captures as other programs, other systems and careless hands write them: read right, with a warning, or refused in a sentence."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from qnerf.errors import UserError
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import FOCAL, POSES, SIZE, document, pixels, write_capture, write_images

Change = Callable[[dict[str, Any]], object]
HUGE = 10**400
FLIPPED = [(pose @ np.diag([1.0, -1, -1, 1])).tolist() for pose in POSES]


def read(folder: Path, **changes: Any) -> Scene:
    return read_scene(SceneSettings(**{"path": str(folder), "size": SIZE, **changes}))


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(folder, **changes)
    assert len(str(caught.value)) <= 600
    return str(caught.value)


def in_frames(key: str, values: list[Any]) -> Change:
    return lambda d: [frame.update({key: value}) for frame, value in zip(d["frames"], values, strict=True)]


def all_poses(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return in_frames("transform_matrix", [change(pose).tolist() for pose in POSES])


def with_last_row(*row: float) -> Change:
    return all_poses(lambda pose: np.vstack([pose[:3], row]))


REFUSED: dict[str, tuple[Change, str]] = {
    "angle above pi": (lambda d: (d.pop("fl_x"), d.update(camera_angle_x=3.5)), "camera_angle_x = 3.5, expected radians below π"),
    "angle in degrees": (lambda d: (d.pop("fl_x"), d.update(camera_angle_x=47.1)), "as degrees, write 0.8221"),
    "centre as a share": (lambda d: d.update(cx=0.5, cy=0.5), "if it is a share, multiply it by 48"),
    "focal as a share": (lambda d: d.update(fl_x=1.15, fl_y=1.15), "if it is a share of the size, multiply it by 48"),
    "focal of 1e300": (lambda d: d.update(fl_x=1e300), "has fl_x = 1e+300, expected a finite number"),
    "focal of 1e30": (lambda d: d.update(fl_x=1e30), "fl_x = 1e+30 for an image of 48 pixels, expected at most"),
    "width of 1e308": (lambda d: d.update(w=1e308), "has w = 1e+308"),
    "focal of 400 digits": (lambda d: d.update(fl_x=HUGE), "expected a finite number"),
    "position of 400 digits": (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, HUGE), "no 4 x 4 'transform_matrix'"),
    "position of 1e200": (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, 1e200), "has 1e+200 in its"),
    "no focal": (lambda d: (d.update(fl_x=None), d.pop("fl_y")), "neither fl_x nor camera_angle_x"),
    "k1 of 1e30": (lambda d: d.update(k1=1e30), "folds back inside the image"),
    "a folding lens": (lambda d: d.update(k1=-0.9, k2=0.1, fl_x=30, fl_y=30), "folds back inside the image"),
    "f-theta": (lambda d: d.update(ftheta_p0=0.0, ftheta_p1=0.01), "a lens that is not read (ftheta_p0)"),
    "panorama": (lambda d: d.update(camera_model="EQUIRECTANGULAR"), "cut perspective views"),
    "columns": (all_poses(lambda pose: pose.T), "written by columns: transpose each matrix"),
    "homogeneous": (with_last_row(0, 0, 0, 2), "the last row 0, 0, 0, 2"),
    "OpenCV's axes": (in_frames("transform_matrix", FLIPPED), "set scene.axes=opencv"),
    "OpenCV's axes, focus": (
        lambda d: (in_frames("transform_matrix", FLIPPED)(d), d.update(focus=[0, 0, 0.9], radius=2.0)),
        "set scene.axes=opencv",
    ),
    "world to camera": (all_poses(np.linalg.inv), "look like world-to-camera matrices"),
    "one place": (in_frames("transform_matrix", [np.eye(4).tolist()] * 4), "all cameras stand at one point"),
    "one image, two poses": (in_frames("file_path", ["images/000.png"] * 2 + ["images/002.png", "images/003.png"]), "twice"),
    "other proportions": (lambda d: d.update(w=96), "is 48 x 48 pixels, but transforms.json says w x h = 96 x 48"),
    "a null byte and half a character": (in_frames("file_path", ["\0", "\ud800", "images/" + "x" * 5000, "²"]), "0 exist"),
    "one view": (lambda d: d.update(frames=d["frames"][:1]), "names 1 image, expected at least 2: add more images"),
    "radius of 1e-300": (lambda d: d.update(focus=[0, 0, 0.9], radius=1e-300), "has a radius of 1e-300, with cameras 3.0"),
    "outside": (
        in_frames("file_path", [f"../else/{name}.png" for name in "abcd"]),
        "lies outside of the folder, where nothing is read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_camera_is_gets_a_sentence(name: str, tmp_path: Path) -> None:
    change, expected = REFUSED[name]
    changed = document()
    change(changed)
    write_images(tmp_path / "else", ["a.png"])
    folder = write_capture(tmp_path / "scene", changed)
    message = refused(folder)
    assert expected in message
    assert str(folder) in message


TEXTS = {
    "nested": ('{"frames": ' + "[" * 100_000, "nested too deeply"),
    "5000 digits": ('{"fl_x": ' + "9" * 5000 + ', "frames": []}', "a number of thousands of digits"),
    "cut off": ("{", "is not valid JSON"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_json(name: str, tmp_path: Path) -> None:
    write_capture(tmp_path)
    text, expected = TEXTS[name]
    (tmp_path / "transforms.json").write_text(text)
    assert expected in refused(tmp_path)
    (tmp_path / "proxy.json").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_proxy(tmp_path / "proxy.json")


def same(scene: Scene, focal: float = FOCAL, views: int = 4) -> None:
    """The scene is the usual capture."""
    assert len(scene.view_names) == views
    torch.testing.assert_close(scene.cameras.focal, torch.full((views, 2), focal))
    torch.testing.assert_close(scene.cameras.camera_to_world, torch.from_numpy(POSES).float()[:views], atol=2e-3, rtol=0)
    shown = torch.stack([torch.from_numpy(pixels(view)).permute(2, 0, 1) for view in range(views)]).float() / 255
    torch.testing.assert_close(scene.images, shown, atol=4.1 / 255, rtol=0)


def only(*keys: str, **changes: Any) -> Change:
    """Nothing but the frames and these keys, with other values for some."""
    return lambda d: [d.pop(key) for key in [*d] if key not in ("frames", "prompt", *keys)] and d.update(changes)


ANGLE = 2 * math.atan(SIZE / 2 / FOCAL)
WINDOWS = [f".\\images\\{view:03d}.png" for view in range(4)]
READ: dict[str, Change] = {
    "a mark before the text": lambda d: None,
    "only fl_y": only("fl_y"),
    "fl_x null": only("fl_y", fl_x=None),
    "only camera_angle_y": only(camera_angle_y=ANGLE),
    "degrees": only(x_fov=math.degrees(ANGLE)),
    "backslashes": in_frames("file_path", WINDOWS),
    "another computer's folder": in_frames("file_path", ["C:\\Users\\me\\" + name[2:] for name in WINDOWS]),
    "above the folder": in_frames("file_path", [f"./..\\..\\Downloads\\images/{view:03d}.png" for view in range(4)]),
    "no extension": in_frames("file_path", [f"images/{view:03d}" for view in range(4)]),
    "another case": in_frames("file_path", [f"images/{view:03d}.PNG" for view in range(4)]),
    "every frame twice": lambda d: d.update(frames=d["frames"] * 2),
    "rounded to 3 decimals": all_poses(lambda pose: pose.round(3)),
    "a frame's own lens wins": lambda d: (d.update(fl_x=70.0, fl_y=70.0), in_frames("camera_angle_x", [ANGLE] * 4)(d)),
    "twice the size": lambda d: d.update({key: 2 * d[key] for key in ("fl_x", "fl_y", "cx", "cy", "w", "h")}),
}


@pytest.mark.parametrize("name", READ)
def test_what_other_programs_write_is_the_same_capture(name: str, tmp_path: Path) -> None:
    changed = document()
    READ[name](changed)
    write_capture(tmp_path)
    (tmp_path / "transforms.json").write_text("\ufeff" + json.dumps(changed), encoding="utf-8")
    same(read(tmp_path))


def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture, **changes: Any) -> tuple[Scene, str]:
    with caplog.at_level(logging.WARNING):
        return read(folder, **changes), caplog.text


def test_opencv_axes_that_are_named_are_turned(tmp_path: Path) -> None:
    changed = document()
    in_frames("transform_matrix", FLIPPED)(changed)
    same(read(write_capture(tmp_path, changed), axes="opencv"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            in_frames("mask_path", ["masks/0.png"] * 4),
            "names a mask (mask_path) that is not in the folder, which is not used; so do 3 others",
        ),
        (in_frames("depth_file_path", ["d.png"] * 4), "names depth (depth_file_path) that is not in the folder, which is not used"),
        (lambda d: d.update(cx=38.0, cy=20.0), "principal point (38, 20) far from the middle of 48 x 48 pixels"),
        (lambda d: d.update(fl_y=80.0), "pixels that are not square (fl_x / fl_y = 0.688)"),
        (lambda d: d.update(camera_angle_x=1.5), "has fl_x = 55, which is taken, and a camera_angle_x that says 25.76"),
        (READ["every frame twice"], "listed more than once"),
        (READ["above the folder"], "leads out of the folder"),
        (READ["twice the size"], "has 48 x 48 pixels, its intrinsics 96 x 96: they are scaled"),
    ],
)
def test_what_is_left_out_is_said(change: Change, expected: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed = document()
    change(changed)
    _, said = warnings_of(write_capture(tmp_path, changed), caplog)
    assert expected in said


def test_a_copy_in_half_the_size_has_half_the_focal_length(tmp_path: Path) -> None:
    changed = document()
    only("fl_x")(changed)
    write_capture(tmp_path, changed)
    Image.fromarray(pixels(1, SIZE // 2)).save(tmp_path / "images/001.png")
    torch.testing.assert_close(read(tmp_path).cameras.focal, torch.full((4, 2), FOCAL))  # at the common size again


def test_scaled_images_stand_in_for_missing_ones(tmp_path: Path) -> None:
    write_capture(tmp_path)
    for path in sorted((tmp_path / "images").iterdir()):
        path.unlink()
    write_images(tmp_path, [f"images_2/{view:03d}.png" for view in range(4)], SIZE // 2)
    torch.testing.assert_close(read(tmp_path).cameras.focal, torch.full((4, 2), FOCAL))


def nadir() -> list[Any]:
    """Nine drones 10 above the ground that look down, and a little inwards: their axes meet 100 below."""
    poses = []
    for x, y in ((x, y) for x in (-3, 0, 3) for y in (-3, 0, 3)):
        left, _, right = np.linalg.svd(np.array([[1, 0, x / 100], [0, 1, y / 100], [-x / 100, -y / 100, 1]]))
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = left @ right, (x, y, 10)
        poses.append(pose.tolist())
    return poses


def test_nearly_parallel_axes_and_cameras_that_look_out_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed = document()
    frames = [{"file_path": f"images/{view:03d}.png", "transform_matrix": pose} for view, pose in enumerate(nadir())]
    write_images(tmp_path, [frame["file_path"] for frame in frames])
    (tmp_path / "transforms.json").write_text(json.dumps({**changed, "frames": frames}))
    scene, said = warnings_of(tmp_path, caplog)
    used = ", ".join(f"{value:.4g}" for value in scene.focus.tolist())
    assert "axes are nearly parallel" in said
    assert f"Used: focus ({used})" in said
    outward = [pose.copy() for pose in POSES]
    outward[0][:3, :3] = outward[0][:3, :3] @ np.diag([-1.0, 1, -1])  # it turns its back to the others
    in_frames("transform_matrix", [pose.tolist() for pose in outward])(changed)
    _, said = warnings_of(write_capture(tmp_path / "room", changed), caplog)
    assert "1 of 4 cameras have the point nearest to all axes behind them" in said


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/b_c.png", "a_b/c.png", "x/c.png", "y/c.png"], ("a_b_c_0", "a_b_c_1", "x_c", "y_c")),
        (["i/0.png", "i/0.jpg", "i/1.png", "i/2.png"], ("i_0_0", "i_0_1", "i_1", "i_2")),
        (["i/²", "i/10.png", "i/9.png", "i/1.png"], ("1", "9", "10", "²")),
    ],
)
def test_every_view_has_a_name_of_its_own(paths: list[str], names: tuple[str, ...], tmp_path: Path) -> None:
    changed = document()
    in_frames("file_path", paths)(changed)
    write_images(tmp_path, [path if "." in path else f"{path}.png" for path in paths])
    (tmp_path / "transforms.json").write_text(json.dumps(changed))
    assert set(read(tmp_path).view_names) == set(names)


@pytest.mark.parametrize("key", [{"is_fisheye": True}, {"camera_model": "OPENCV_FISHEYE"}])
def test_fisheyes_are_no_pinholes(key: dict[str, Any], tmp_path: Path) -> None:
    scene = read(write_capture(tmp_path, {**document(), **key}))
    assert scene.cameras.focal.max() < FOCAL - 1  # the rim's rays stand steeper in a pinhole
