"""LLFF's poses_bounds.npy beside a folder of images (Mildenhall et al., SIGGRAPH 2019).

Its N rows hold a matrix 3 x 5, row by row, and the nearest and the farthest depth. The matrix's columns are
the camera's axes in the world (down, right, backwards), its position, and height, width and focal length in
pixels. Rows belong to the images in the order of their names.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.frames import EXTENSIONS, SCALED, checked_pose, in_order, natural
from qnerf.scenes.lens import intrinsics_problem
from qnerf.scenes.problems import raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

NAME = "poses_bounds.npy"
COLUMNS = 17


def read(folder: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Raises one UserError that names every view that is wrong."""
    rows = _rows(folder / NAME)
    images, note = _images(folder)
    if len(images) != len(rows):
        there = f"{len(images)} images in {images[0].parent.name}/" if images else "no images in images/"
        raise UserError(f"{folder / NAME} has {len(rows)} poses for {there}, expected one each: keep the images that were posed.")
    problems: list[str] = []
    frames = []
    for image, row in zip(images, rows, strict=True):
        where = f"{folder / NAME}: {image.name}"
        matrix = row[:15].reshape(3, 5)
        pose = checked_pose(where, np.stack([matrix[:, 1], -matrix[:, 0], matrix[:, 2], matrix[:, 3]], axis=1), problems)
        height, width, focal = matrix[:, 4].tolist()
        if not (np.isfinite(matrix[:, 4]).all() and min(height, width) >= 1 and max(height, width) <= 1e6):
            problems.append(f"{where} has height, width and focal length {height:g}, {width:g}, {focal:g}, expected pixels.")
        elif problem := intrinsics_problem((focal, focal), (width / 2, height / 2), (round(width), round(height))):
            problems.append(f"{where} has {problem}.")
        elif pose is not None:
            numbers = {"fl_x": focal, "fl_y": focal, "w": width, "h": height}
            frames.append(Frame(image.name, image, True, pose, numbers, notes=(note,) if note else ()))
    frames = in_order(str(folder / NAME), frames, problems)
    raise_problems(str(folder), problems)
    return {}, frames


def _rows(path: Path) -> np.ndarray:
    """The rows (N, 17) float64. Raises UserError where the file is no such array."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arrays that Python 2 wrote
            rows = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a wrong shape costs no memory
        shape = getattr(rows, "shape", ())
        if len(shape) == 2 and shape[1] == COLUMNS and shape[0] and np.issubdtype(rows.dtype, np.floating):
            return np.array(rows, dtype=np.float64)
    except Exception as error:  # numpy raises nearly everything on damaged files
        raise UserError(f"{path} is damaged ({type(error).__name__}), expected a NumPy array: export it again.") from None
    raise UserError(f"{path} has the shape {' x '.join(map(str, shape))}, expected N x {COLUMNS} numbers: export it again.")


def _images(folder: Path) -> tuple[list[Path], str | None]:
    """The images in the order of their names, of images/ or the first folder of scaled copies that there
    is."""
    try:
        others = sorted((each.name for each in folder.iterdir() if SCALED.fullmatch(each.name)), key=natural)
    except OSError:
        others = []
    for name in ("images", *others):
        if (folder / name).is_dir():
            found = [each for each in (folder / name).iterdir() if each.suffix.lower() in EXTENSIONS[1:] and each.is_file()]
            if found:
                note = None if name == "images" else f"is not in images/, but scaled in {name}/, which is taken"
                return sorted(found, key=lambda each: each.name), note
    return [], None


def _points(folder: Path) -> np.ndarray | None:
    """On every axis, the point at the geometric mean of the nearest and the farthest depth."""
    _, frames = read(folder)
    bounds = _rows(folder / NAME)[:, 15:]
    names = {image.name: index for index, image in enumerate(_images(folder)[0])}
    points = []
    for frame in frames:
        near, far = bounds[names[frame.file_path]]
        if 0 < near < far < np.inf:
            points.append(frame.pose[:3, 3] - frame.pose[:3, 2] * np.sqrt(near * far))
    return np.stack(points) if points else None


def _limits(folder: Path) -> tuple[float, float] | None:
    """The nearest and the farthest of all bounds."""
    bounds = _rows(folder / NAME)[:, 15:]
    known = bounds[(bounds[:, 0] > 0) & (bounds[:, 1] > bounds[:, 0]) & np.isfinite(bounds[:, 1])]
    return (float(known[:, 0].min()), float(known[:, 1].max())) if len(known) else None


READER = Reader(
    name="llff",
    looks_for=NAME,
    finds=lambda folder: (folder / NAME).is_file(),
    read=read,
    files=lambda folder: [folder / NAME],
    points=_points,
    limits=_limits,
    rank=2,
    axes_known=True,
)
