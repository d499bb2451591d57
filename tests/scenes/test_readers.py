"""One capture in every format that is read: the same cameras, to float64's rounding, and the same scene."""

from __future__ import annotations

import json
import logging
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qnerf.errors import UserError
from qnerf.scenes.colmap_model import MODELS
from qnerf.scenes.images import image_size
from qnerf.scenes.lens import centre_of, focal_of
from qnerf.scenes.reader import read_scene
from qnerf.scenes.readers import colmap, llff, transforms
from qnerf.scenes.readers.reader import reader_of
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import DOCUMENT, FOCAL, POSES, SIZE, pixels, write_capture, write_images

NAMES = [f"{view:03d}.png" for view in range(4)]
POINTS = np.random.default_rng(0).normal(size=(40, 3)) * 0.3 + [0.0, 0.0, 0.9]


def world_to_camera() -> list[tuple[np.ndarray, np.ndarray]]:
    """COLMAP's quaternions (w, x, y, z) and translations of the usual poses, by the eigenvector of
    Bar-Itzhack (2000)."""
    found = []
    for pose in POSES:
        inverse = np.linalg.inv(pose @ np.diag([1.0, -1, -1, 1]))
        r = inverse[:3, :3]
        k = np.array(
            [
                [np.trace(r), r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
                [0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
                [0, 0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
                [0, 0, 0, r[2, 2] - r[0, 0] - r[1, 1]],
            ]
        )
        found.append((np.linalg.eigh(k + np.triu(k, 1).T)[1][:, -1], inverse[:3, 3]))
    return found


def write_colmap(folder: Path, binary: bool, model: int = 1, parameters: tuple[float, ...] = (FOCAL, FOCAL, 24.0, 24.0)) -> None:
    """A sparse model as COLMAP writes it, with observations and points; its first image sees all points."""
    place = folder / ("sparse/0" if binary else "colmap/sparse")
    place.mkdir(parents=True)
    write_images(folder, [f"images/{name}" for name in NAMES])
    if binary:
        camera = struct.pack("<iiQQ", 7, model, SIZE, SIZE) + struct.pack(f"<{len(parameters)}d", *parameters)
        (place / "cameras.bin").write_bytes(struct.pack("<Q", 1) + camera)
        count = struct.pack("<Q", len(POINTS))
        seen = [count + b"".join(struct.pack("<ddq", 1.5, 2.5, -1 if view else n) for n in range(len(POINTS))) for view in range(4)]
        rows = [
            struct.pack("<I7dI", view + 1, *turn, *shift, 7) + name.encode() + b"\0" + seen[view]
            for view, (name, (turn, shift)) in enumerate(zip(NAMES, world_to_camera(), strict=True))
        ]
        (place / "images.bin").write_bytes(struct.pack("<Q", 4) + b"".join(rows))
        points = [struct.pack("<Q3d3BdQ", n, *point, 1, 2, 3, 0.5, 1) + struct.pack("<II", 1, n) for n, point in enumerate(POINTS)]
        (place / "points3D.bin").write_bytes(struct.pack("<Q", len(points)) + b"".join(points))
        return
    values = " ".join(map(repr, parameters))
    (place / "cameras.txt").write_text(f"# Camera list\n7 {MODELS[model][0]} {SIZE} {SIZE} {values}\n")
    lines = ["# Image list"]
    for view, (name, (turn, shift)) in enumerate(zip(NAMES, world_to_camera(), strict=True)):
        lines += [" ".join([str(view + 1), *map(repr, [*turn.tolist(), *shift.tolist()]), "7", name]), "1.5 2.5 -1" if view else ""]
    (place / "images.txt").write_text("\n".join(lines) + "\n")
    (place / "points3D.txt").write_text(
        "".join(f"{n} {x!r} {y!r} {z!r} 1 2 3 0.5 1 0\n" for n, (x, y, z) in enumerate(POINTS.tolist()))
    )


def write_llff(folder: Path) -> None:
    write_images(folder, [f"images/{name}" for name in NAMES])
    rows = []
    for pose in POSES:
        right, up, back, place = pose[:3].T
        rows.append([*np.stack([-up, right, back, place, [SIZE, SIZE, FOCAL]], axis=1).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))


def write_splits(folder: Path) -> None:
    """As the synthetic NeRF scenes are: an angle alone, paths without an extension, one file for
    each split."""
    for split, views in {"train": (0, 2), "val": (1,), "test": (3,)}.items():
        frames = [{**DOCUMENT["frames"][view], "file_path": f"./{split}/{view:03d}"} for view in views]
        for view in views:
            write_images(folder, [f"{split}/{view:03d}.png"])
        angle = 2 * np.arctan(SIZE / 2 / FOCAL)
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))


def write_npz(folder: Path, vggt: bool = False) -> None:
    """As Depth Anything 3 exports it, or VGGT's demo: one file with cameras, depth and images."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = np.stack([np.linalg.inv(pose @ np.diag([1.0, -1, -1, 1]))[:3] for pose in POSES])
    matrices = np.tile(np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]]), (4, 1, 1))
    images, depth = np.stack([pixels(view) for view in range(4)]), np.full((4, SIZE, SIZE), 3.0, np.float32)
    if vggt:
        known = {"extrinsic": cameras, "intrinsic": matrices, "images": images.transpose(0, 3, 1, 2) / 255}
        np.savez(folder / "predictions.npz", **known, depth=depth[..., None], pose_enc=np.zeros((4, 9)))
        return
    place = folder / "exports/npz"
    place.mkdir(parents=True)
    np.savez_compressed(place / "results.npz", image=images, depth=depth, extrinsics=cameras, intrinsics=matrices)


def write_small_npz(folder: Path) -> None:
    """Cameras alone, of images that the network saw at half the width and, rounded to what it
    takes, a little less high."""
    write_images(folder, [f"images/{name}" for name in NAMES])
    cameras = np.stack([np.linalg.inv(pose @ np.diag([1.0, -1, -1, 1])) for pose in POSES])
    matrices = np.tile(np.array([[FOCAL / 2, 0, SIZE / 4], [0, FOCAL / 2, SIZE / 4], [0, 0, 1]]), (4, 1, 1))
    depth = np.full((1, 4, SIZE // 2, SIZE // 2), 3.0)
    np.savez(folder / "mini.npz", extrinsics=cameras, intrinsics=matrices, depth=depth)


FORMATS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another name": (lambda folder: write_capture(folder, name="cameras.json"), "transforms"),
    "splits": (write_splits, "transforms"),
    "COLMAP binary": (lambda folder: write_colmap(folder, binary=True), "colmap"),
    "COLMAP text": (lambda folder: write_colmap(folder, binary=False), "colmap"),
    "LLFF": (write_llff, "llff"),
    "Depth Anything 3": (write_npz, "npz"),
    "VGGT": (lambda folder: write_npz(folder, vggt=True), "npz"),
    "cameras and photographs": (write_small_npz, "npz"),
}


def read(folder: Path) -> Scene:
    return read_scene(SceneSettings(path=str(folder), size=SIZE, source_prompt="a ball"))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_cameras(name: str, tmp_path: Path) -> None:
    write, expected = FORMATS[name]
    write(tmp_path)
    reader = reader_of(tmp_path)
    assert reader.name == expected
    poses = {Path(frame.file_path).stem[-3:]: frame.pose for frame in reader.read(tmp_path)[1]}
    np.testing.assert_allclose(np.stack([poses[f"{view:03d}"] for view in range(4)]), POSES, atol=1e-6)
    assert all(path.is_file() for path in reader.files(tmp_path))
    scene = read(tmp_path)
    order = np.argsort(scene.view_names).tolist()
    usual = read(write_capture(tmp_path / "usual"))
    for found, known in ((scene.cameras[order], usual.cameras),):
        torch.testing.assert_close(found.camera_to_world, known.camera_to_world, atol=2e-6, rtol=0)
        torch.testing.assert_close(found.focal, known.focal, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.centre, known.centre, atol=1e-5, rtol=0)
    torch.testing.assert_close(scene.focus, usual.focus, atol=1e-5, rtol=0)
    # of which one image stands for all
    assert name == "splits" or torch.equal(scene.images[order], usual.images)


@pytest.mark.parametrize("name", FORMATS)
def test_rays_of_every_format_meet_the_same_pixel_to_a_hundred_thousandth(name: str, tmp_path: Path) -> None:
    write, _ = FORMATS[name]
    write(tmp_path)
    pixels = np.array([[0.0, 0.0], [SIZE, 0.0], [SIZE / 3, SIZE]])
    local = np.column_stack([(pixels - SIZE / 2) / FOCAL * [1, -1], -np.ones(3)])
    frames = {Path(frame.file_path).stem[-3:]: frame for frame in reader_of(tmp_path).read(tmp_path)[1]}
    for view, pose in enumerate(POSES):
        points = pose[:3, 3] + 3.0 * local @ pose[:3, :3].T
        frame = frames[f"{view:03d}"]
        width, height = image_size(frame.image) or (SIZE, SIZE)
        named = (frame.numbers.get("w", width), frame.numbers.get("h", height))
        seen = (points - frame.pose[:3, 3]) @ frame.pose[:3, :3]
        found = seen[:, :2] / -seen[:, 2:] * [1, -1] * focal_of(frame.numbers, *named) + centre_of(frame.numbers, *named)
        np.testing.assert_allclose(found * (SIZE / named[0]), pixels, atol=1e-5)


def test_pycolmap_reads_the_same(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    write_colmap(tmp_path, binary=True)
    model = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    for frame in colmap.read(tmp_path)[1]:
        image = next(image for image in model.images.values() if image.name == frame.file_path)
        inverse = np.linalg.inv(np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]))
        np.testing.assert_allclose(frame.pose, inverse @ np.diag([1.0, -1, -1, 1]), atol=1e-6)


def test_images_of_a_rig_of_two_sensors_are_where_pycolmap_has_them(tmp_path: Path) -> None:
    """rigs.bin and frames.bin place a sensor on its rig and the rig in the world; images.bin has
    both in one."""
    pycolmap = pytest.importorskip("pycolmap")
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs, options.num_cameras_per_rig, options.num_frames_per_rig, options.num_points3D = 1, 2, 3, 20
    options.sensor_from_rig_translation_stddev, options.sensor_from_rig_rotation_stddev = 0.3, 10.0
    model, place = pycolmap.synthesize_dataset(options), tmp_path / "sparse/0"
    place.mkdir(parents=True)
    model.write(str(place))
    assert {"rigs.bin", "frames.bin"} <= {path.name for path in place.iterdir()}
    images = {image.name: image for image in model.images.values()}
    write_images(tmp_path, [f"images/{name}" for name in images])
    frames = colmap.read(tmp_path)[1]
    assert {frame.file_path for frame in frames} == set(images)
    for frame in frames:
        inverse = np.linalg.inv(np.vstack([images[frame.file_path].cam_from_world().matrix(), [0, 0, 0, 1]]))
        np.testing.assert_allclose(frame.pose, inverse @ np.diag([1.0, -1, -1, 1]), atol=1e-12)


@pytest.mark.parametrize("model", range(len(MODELS)))
def test_every_lens_of_colmap_is_read_or_refused(model: int, tmp_path: Path) -> None:
    name, keys = MODELS[model]
    if isinstance(keys, int):
        write_colmap(tmp_path, True, model, (1.0,) * keys)
        with pytest.raises(UserError, match=f"has the model {name}, expected one of .* run colmap image_undistorter"):
            read(tmp_path)
        return
    values = {**dict.fromkeys(("f", "fl_x", "fl_y"), FOCAL), "cx": 24.0, "cy": 24.0}
    write_colmap(tmp_path, True, model, tuple(values.get(key, 0.01) for key in keys))
    frame = colmap.read(tmp_path)[1][0]
    assert frame.fisheye == ("FISHEYE" in name)
    assert frame.numbers["fl_x"] == frame.numbers["fl_y"] == FOCAL
    assert {key for key, value in frame.numbers.items() if value == 0.01} == set(keys) - values.keys()
    assert read(tmp_path).images.shape == (4, 3, SIZE, SIZE)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def replaced(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


BINARY, TEXT = "sparse/0", "colmap/sparse"
SEVEN, EIGHT = struct.pack("<i", 7), struct.pack("<i", 8)
ZEROS = "1 0 0 0 0 0 0 1 7 000.png\n\n2 nan 0 0 0 0 0 1 7 001.png\n"
DAMAGED: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "cut": (True, lambda f: cut(f / BINARY / "cameras.bin"), "cameras.bin is damaged"),
    "many images": (True, lambda f: replaced(f / BINARY / "images.bin", struct.pack("<Q", 4), b"\xff" * 8), "is damaged"),
    "no such camera": (True, lambda f: replaced(f / BINARY / "cameras.bin", SEVEN, EIGHT), "has camera 7"),
    "a word": (False, lambda f: replaced(f / TEXT / "images.txt", b"7 000.png", b"x 000.png"), "images.txt is damaged"),
    "a model": (False, lambda f: replaced(f / TEXT / "cameras.txt", b"PINHOLE", b"MIRROR"), "camera model MIRROR"),
    "no rotation": (False, lambda f: (f / TEXT / "images.txt").write_text(ZEROS), "has NaN or infinity"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_models_get_a_sentence(name: str, tmp_path: Path) -> None:
    binary, damage, expected = DAMAGED[name]
    write_colmap(tmp_path, binary)
    damage(tmp_path)
    with pytest.raises(UserError, match=expected) as caught:
        read(tmp_path)
    assert len(str(caught.value)) <= 600


def test_damaged_poses_of_llff_get_a_sentence(tmp_path: Path) -> None:
    write_llff(tmp_path)
    (tmp_path / "images/000.png").unlink()
    with pytest.raises(UserError, match="has 4 poses for 3 images in images/"):
        read(tmp_path)
    cut(tmp_path / "poses_bounds.npy")
    with pytest.raises(UserError, match=r"poses_bounds\.npy is damaged"):
        read(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", np.zeros((4, 15)))
    with pytest.raises(UserError, match="has the shape 4 x 15, expected N x 17"):
        read(tmp_path)
    np.save(tmp_path / "poses_bounds.npy", np.array([print]), allow_pickle=True)  # a pickle is never opened
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path)


def test_files_of_networks_that_are_damaged_or_others_get_a_sentence(tmp_path: Path) -> None:
    write_npz(tmp_path)
    path = tmp_path / "exports/npz/results.npz"
    arrays = dict(np.load(path))
    for changed, expected in (
        ({"extrinsics": arrays["extrinsics"][:, :2]}, "has extrinsics of the shape 4 x 2 x 4, expected N x 3 x 4"),
        ({"intrinsics": arrays["intrinsics"] * [[[1, 1, 1], [1, 1, 1], [1, 1, 2]]]}, "has intrinsics that are no camera's"),
        ({"image": arrays["image"][:3]}, "has 4 extrinsics and 3 of image"),
        ({"image": arrays["image"] / 2.0}, "neither bytes nor numbers from 0 to 1"),
        ({"depth": np.array([print], dtype=object)}, "is damaged"),  # a pickle is never opened
        ({"extrinsics": arrays["extrinsics"] * 2}, "has a rotation that is not orthonormal"),
    ):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(UserError, match=re.escape(expected)):
            read(tmp_path)
    np.savez(path, **arrays)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(4, 3, 4)", b"(4, 9, 9)"))  # more than there is
    with pytest.raises(UserError, match="is damaged"):
        read(tmp_path)


def test_points_say_where_parallel_cameras_look(tmp_path: Path) -> None:
    """Nine cameras that look straight down at points of the ground: their axes never meet, but see
    it 10 below them."""
    place = tmp_path / "sparse/0"
    place.mkdir(parents=True)
    names = [f"{view}.png" for view in range(9)]
    write_images(tmp_path, [f"images/{name}" for name in names])
    lines = [f"{view + 1} 0 1 0 0 {-(view % 3)} {view // 3} 10 7 {name}\n\n" for view, name in enumerate(names)]
    (place / "images.txt").write_text("".join(lines))
    (place / "cameras.txt").write_text(f"7 PINHOLE {SIZE} {SIZE} {FOCAL} {FOCAL} 24 24\n")
    ground = [(x / 2, y / 2, 0.0) for x in range(-10, 15) for y in range(-10, 15)]
    (place / "points3D.txt").write_text("".join(f"{n} {x} {y} {z} 1 2 3 0.5\n" for n, (x, y, z) in enumerate(ground)))
    scene = read(tmp_path)
    torch.testing.assert_close(scene.focus, torch.tensor([1.0, 1.0, 0.0]), atol=1e-5, rtol=0)
    assert scene.radius == pytest.approx(5.1, abs=0.1)


def test_of_two_formats_nerfstudio_s_is_read_and_the_file_may_be_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_colmap(tmp_path, binary=True)
    write_capture(tmp_path)
    assert reader_of(tmp_path).name == "transforms"
    assert reader_of(tmp_path, "colmap").name == "colmap"
    (tmp_path / "transforms.json").rename(tmp_path / "mine.json")
    (tmp_path / "other.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        scene = read(tmp_path / "mine.json")
    assert scene.view_names == ("000", "001", "002", "003")
    assert transforms.files_of(tmp_path) == [tmp_path / "mine.json"]


def test_a_folder_that_no_reader_takes_is_told_what_converts_it(tmp_path: Path) -> None:
    for name, advice in {"a.r3d": "ns-process-data record3d", "IMG.jpg": "find the cameras with COLMAP"}.items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text("")
        with pytest.raises(UserError, match=f"it holds {name}, .*{advice}"):
            reader_of(folder)


def test_llff_s_own_bounds_are_a_point_on_every_axis(tmp_path: Path) -> None:
    write_llff(tmp_path)
    points = llff.READER.points(tmp_path)
    assert points is not None
    np.testing.assert_allclose(points, POSES[:, :3, 3] - 3.0 * POSES[:, :3, 2], atol=1e-9)  # sqrt(1 x 9)
