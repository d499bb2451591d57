"""transforms.json, as nerfstudio, instant-ngp and blender exporters write it: where the images are and what took them.

Sources: nerfstudio's data conventions (OpenGL axes, `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`, OPENCV distortion) and
instant-ngp's (`camera_angle_x`, file paths without an extension). A key in a frame wins over the same key of the file.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.images import read_json
from qnerf.scenes.problems import check_world, raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".webp")
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
NUMBERS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "k1", "k2", "k3", "k4", "p1", "p2")
POSITIVE = ("fl_x", "fl_y", "w", "h", "camera_angle_x", "camera_angle_y")
NAME = "transforms.json"
ORTHONORMAL = 1e-3  # how far the entries of R^T R may lie from the identity's


def read_frames(folder: Path) -> tuple[dict[str, Any], list[Frame]]:
    """The file's own keys, and its frames in the natural order of their paths.

    Raises one UserError that names every frame that is wrong.
    """
    path = folder / NAME
    document = read_json(path)
    entries = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path} has no list 'frames', expected at least two frames: export the capture again.")
    problems: list[str] = []
    check_world(path, document, problems)
    frames = [_parse_frame(path, index, entry, document, problems) for index, entry in enumerate(entries)]
    raise_problems(str(path), problems)
    return document, sorted((frame for frame in frames if frame), key=lambda frame: _natural(frame.file_path))


def _parse_frame(path: Path, index: int, entry: Any, document: dict[str, Any], problems: list[str]) -> Frame | None:
    where = f"{path}: frame {index}"
    file_path = entry.get("file_path") if isinstance(entry, dict) else None
    if not isinstance(file_path, str) or not file_path:
        problems.append(f"{where} has no 'file_path', expected the path of its image: add it.")
        return None
    where = f"{where} ({file_path})"
    found = len(problems)
    pose = _parse_pose(where, entry.get("transform_matrix"), problems)
    numbers = _parse_numbers(path, where, document, entry, problems)
    if pose is None or len(problems) > found:
        return None
    image = _find_image(path.parent, file_path)
    return Frame(file_path, image or path.parent / file_path, image is not None, pose, numbers)


def _parse_pose(where: str, value: Any, problems: list[str]) -> np.ndarray | None:
    try:
        pose = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape == (3, 4):
        pose = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
    if pose.shape != (4, 4):
        problems.append(f"{where} has no 4 x 4 'transform_matrix' of numbers: export its pose again.")
        return None
    if not np.isfinite(pose).all():
        problems.append(f"{where} has NaN or infinity in its 'transform_matrix': export its pose again or drop it.")
        return None
    rotation = pose[:3, :3]
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > ORTHONORMAL or np.linalg.det(rotation) < 0:
        problems.append(
            f"{where} has a rotation that is not orthonormal (R^T R is off by {error:.2g}, determinant "
            f"{np.linalg.det(rotation):.3g}), expected a rotation without scale or mirroring: export its pose again."
        )
        return None
    return pose


def _parse_numbers(
    path: Path, where: str, document: dict[str, Any], entry: dict[str, Any], problems: list[str]
) -> dict[str, float]:
    """The intrinsics of a frame. A wrong key of the whole file is laid to the file, not to each of its frames."""
    merged = {**document, **entry}
    model = merged.get("camera_model", "OPENCV")
    if model not in MODELS:
        expected = f"expected one of {', '.join(MODELS)}: undistort the images first."
        problems.append(f"{where if 'camera_model' in entry else path} has camera_model {model!r}, {expected}")
    numbers: dict[str, float] = {}
    for key in NUMBERS:
        value, place = merged.get(key), where if key in entry else path
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            problems.append(f"{place} has {key} = {value!r}, expected a finite number: correct it.")
        elif key in POSITIVE and value <= 0:
            problems.append(f"{place} has {key} = {value:g}, expected a number above 0: correct its intrinsics.")
        elif key == "k4" and value != 0:
            problems.append(f"{place} has a fisheye term k4 = {value:g}, expected 0: undistort the images first.")
        else:
            numbers[key] = float(value)
    if not merged.keys() & {"fl_x", "camera_angle_x"}:
        problems.append(f"{path} has neither fl_x nor camera_angle_x, expected one of them: add its intrinsics.")
    return numbers


def _find_image(folder: Path, file_path: str) -> Path | None:
    candidates = (folder / f"{file_path}{extension}" for extension in EXTENSIONS)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _natural(file_path: str) -> list[tuple[int, str]]:
    """A sorting key that puts view_2 before view_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file_path)]


READER = Reader(
    name="transforms",
    looks_for=NAME,
    finds=lambda folder: (folder / NAME).exists(),
    read=read_frames,
    files=lambda folder: [folder / NAME],
)
