"""COLMAP's sparse models, binary or text, beside a folder of images: sparse/0, sparse or colmap/sparse/0, as
COLMAP, nerfstudio, gsplat and the Mip-NeRF 360 captures have them. Its world's axes stay as they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.colmap_model import KEYS, Camera, Image, model_file, read_cameras, read_images, read_points, rotation_of
from qnerf.scenes.focus import FLIP
from qnerf.scenes.frames import ImageFinder, checked_pose, in_order
from qnerf.scenes.lens import focal_of, intrinsics_problem
from qnerf.scenes.problems import brief, raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

PLACES = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "dense/sparse", "dense/0/sparse", "colmap", ".")
IMAGES = ("images", "input", "dense/images", "dense/0/images", ".")
MASKS = "masks"  # white where COLMAP looked for features
MOST_SIDE = 10**6  # pixels


def model_folder(folder: Path) -> Path | None:
    """Where a folder has its model, None where it has none."""
    places = (folder / place for place in PLACES)
    return next((each for each in places if model_file(each, "cameras") and model_file(each, "images")), None)


def files_of(folder: Path) -> list[Path]:
    """The model's files."""
    place = model_folder(folder)
    found = [model_file(place, what) for what in ("cameras", "images", "points3D")] if place else []
    return [path for path in found if path]


def read(folder: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Raises one UserError that names every image that is wrong."""
    cameras_file, images_file, *_ = files_of(folder)
    cameras, images = read_cameras(cameras_file), read_images(images_file)
    if not images:
        raise UserError(f"{images_file} has no images, expected at least two: register some.")
    problems: list[str] = []
    lenses = {number: _lens(f"{cameras_file}: camera {number}", camera, problems) for number, camera in cameras.items()}
    finder = ImageFinder(folder)
    frames = [_frame(images_file, finder, image, lenses, problems) for image in images]
    frames = in_order(str(images_file), [frame for frame in frames if frame], problems)
    raise_problems(str(folder), problems)
    return {}, frames


def pose_of(image: Image) -> np.ndarray:
    """The pose (4, 4) camera to world with OpenGL's axes; NaN where it is none.

    COLMAP's is x_camera = R(q) x_world + t with OpenCV's axes.
    """
    whole = all(map(math.isfinite, (*image.quaternion, *image.translation)))
    if not whole or not 0 < math.hypot(*image.quaternion) < math.inf:
        return np.full((4, 4), np.nan)
    rotation = rotation_of(np.array(image.quaternion))
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -rotation.T @ np.array(image.translation)
    return pose @ FLIP


def _lens(where: str, camera: Camera, problems: list[str]) -> tuple[dict[str, float], bool] | None:
    """Intrinsics by the keys of transforms.json, and whether the lens is a fisheye."""
    keys = KEYS[camera.model]
    if isinstance(keys, int):
        known = ", ".join(name for name, keys in KEYS.items() if not isinstance(keys, int))
        problems.append(f"{where} has the model {camera.model}, expected one of {known}: run colmap image_undistorter.")
        return None
    sides = (camera.width, camera.height)
    if not all(map(math.isfinite, camera.parameters)) or min(sides) <= 0 or max(sides) > MOST_SIDE:
        problems.append(f"{where} has parameters that are not finite, or no size: export the model again.")
        return None
    numbers = {key: float(value) for key, value in zip(keys, camera.parameters, strict=True)}
    if "f" in numbers:
        numbers["fl_x"] = numbers["fl_y"] = numbers.pop("f")
    centre = (numbers["cx"], numbers["cy"])
    if problem := intrinsics_problem(focal_of(numbers, *sides), centre, sides):
        problems.append(f"{where} has {problem}.")
        return None
    return {**numbers, "w": float(camera.width), "h": float(camera.height)}, "FISHEYE" in camera.model


def _frame(path: Path, finder: ImageFinder, image: Image, lenses: dict[int, Any], problems: list[str]) -> Frame | None:
    where = f"{path}: image {brief(image.name)}"
    if not image.name or image.camera not in lenses:
        problems.append(f"{where} has camera {image.camera}, which cameras.* does not have: export the model again.")
        return None
    pose = checked_pose(where, pose_of(image), problems)
    if pose is None or lenses[image.camera] is None:
        return None
    numbers, fisheye = lenses[image.camera]
    found, note = None, None
    for place in IMAGES:
        found, note = finder.find(f"{place}/{image.name}")
        if found:
            break
    missing = finder.folder / "images" / image.name[:200]
    notes = (note,) if note else ()
    masks = (finder.find(f"{MASKS}/{image.name}.png")[0], finder.find(f"{MASKS}/{image.name}")[0])
    mask = next((mask for mask in masks if mask), None)  # COLMAP's own name for it first
    return Frame(image.name, found or missing, found is not None, pose, numbers, fisheye=fisheye, notes=notes, mask_file=mask)


def _points(folder: Path) -> np.ndarray | None:
    place = model_folder(folder)
    path = place and model_file(place, "points3D")
    points = read_points(path) if path else np.empty((0, 3))
    points = points[np.isfinite(points).all(axis=1)]
    return points if len(points) else None


READER = Reader(
    name="colmap",
    looks_for="sparse/0/cameras.bin",
    finds=lambda folder: model_folder(folder) is not None,
    read=read,
    files=files_of,
    points=_points,
    rank=1,
    axes_known=True,
)
