"""A capture for other programs, of the frames of one: nerfstudio's layout, or COLMAP's sparse model, in the
axes and units of its world."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.capture import frame_size, make_view
from qnerf.scenes.colmap_model import MODELS, rotation_of
from qnerf.scenes.focus import FLIP
from qnerf.scenes.frames import view_names
from qnerf.scenes.images import write_image
from qnerf.scenes.readers.reader import Frame

PINHOLE = next(number for number, (name, _) in enumerate(MODELS) if name == "PINHOLE")
Camera = tuple[int, int, float, float, float, float]  # width, height, fl_x, fl_y, cx, cy, pixels


def write_out(folder: Path, frames: Sequence[Frame], to: str) -> None:
    """Images, and their cameras in the form `to`, into a new folder, whole or not at all. Frames have pinhole
    cameras, as runs write them.

    Raises UserError where the folder exists, where an image cannot be read, or for a lens that is not a
    pinhole.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already, expected a new folder: choose another with --out.")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    try:
        names = [
            f"{name}{frame.image.suffix if frame.pixels is None else '.png'}"
            for name, frame in zip(view_names(frames), frames, strict=True)
        ]
        cameras = [_camera(frame) for frame in frames]
        for name, frame in zip(names, frames, strict=True):
            if frame.pixels is None:
                shutil.copyfile(frame.image, partial / "images" / name)
            else:
                write_image(partial / "images" / name, frame.pixels.transpose(2, 0, 1) / 255)
        WRITERS[to](partial, names, cameras, [frame.pose for frame in frames])
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _camera(frame: Frame) -> Camera:
    size = frame_size(frame)
    if size is None:
        raise UserError(f"{frame.image} cannot be decoded, expected a complete PNG or JPEG: run the edit again.")
    view = make_view(frame, np.zeros((size[1], size[0], 0), np.uint8))
    if view.fisheye or view.distortion.any():
        raise UserError(f"{frame.image} has a lens with distortion, expected an edit's pinhole views: export a run.")
    return (*size, *view.focal.tolist(), *view.centre.tolist())


def _write_nerfstudio(folder: Path, names: list[str], cameras: list[Camera], poses: list[np.ndarray]) -> None:
    keys = ("w", "h", "fl_x", "fl_y", "cx", "cy")
    entries: list[dict[str, Any]] = [dict(zip(keys, camera, strict=True)) for camera in cameras]
    shared = entries[0] if all(entry == entries[0] for entry in entries) else {}
    frames = [
        {"file_path": f"images/{name}", **({} if shared else entry), "transform_matrix": pose.tolist()}
        for name, entry, pose in zip(names, entries, poses, strict=True)
    ]
    document = {"camera_model": "OPENCV", **shared, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write_colmap(folder: Path, names: list[str], cameras: list[Camera], poses: list[np.ndarray]) -> None:
    """A binary model without points: sparse/0."""
    place = folder / "sparse/0"
    place.mkdir(parents=True)
    numbers = {camera: number for number, camera in enumerate(dict.fromkeys(cameras), start=1)}
    rows = [struct.pack("<iiQQ4d", number, PINHOLE, *camera) for camera, number in numbers.items()]
    (place / "cameras.bin").write_bytes(struct.pack("<Q", len(rows)) + b"".join(rows))
    rows = []
    for index, (name, camera, pose) in enumerate(zip(names, cameras, poses, strict=True), start=1):
        turn = quaternion((pose @ FLIP)[:3, :3].T)
        shift = -rotation_of(turn) @ pose[:3, 3]  # of the rotation that is read back, so that the position is exact
        head = struct.pack("<I7dI", index, *turn, *shift, numbers[camera])
        rows.append(head + name.encode() + b"\0" + struct.pack("<Q", 0))
    (place / "images.bin").write_bytes(struct.pack("<Q", len(rows)) + b"".join(rows))
    (place / "points3D.bin").write_bytes(struct.pack("<Q", 0))


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation (3, 3), w ≥ 0, by its largest part (Shepperd 1978)."""
    trace = np.trace(rotation)
    squares = np.array([trace, *np.diag(rotation)])
    first = int(squares.argmax())
    if first == 0:
        parts = [1 + trace, *(rotation[b, a] - rotation[a, b] for a, b in ((1, 2), (2, 0), (0, 1)))]
    else:
        a = first - 1
        b, c = (a + 1) % 3, (a + 2) % 3
        parts = [0.0] * 4
        parts[0] = rotation[c, b] - rotation[b, c]
        parts[1 + a] = 1 + rotation[a, a] - rotation[b, b] - rotation[c, c]
        parts[1 + b], parts[1 + c] = rotation[a, b] + rotation[b, a], rotation[a, c] + rotation[c, a]
    found = np.array(parts) / np.linalg.norm(parts)
    return found if found[0] >= 0 else -found


WRITERS: dict[str, Callable[[Path, list[str], list[Camera], list[np.ndarray]], None]] = {
    "nerfstudio": _write_nerfstudio,
    "colmap": _write_colmap,
}
