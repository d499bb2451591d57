"""What every reader of posed images needs: to find an image by the name that a file gives it, to check its
pose, and to put frames in order. Needs no torch."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from qnerf.scenes.problems import FARTHEST, brief
from qnerf.scenes.readers.reader import Frame

EXTENSIONS = ("", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
SCALED = re.compile(r"images_\d+")
ORTHONORMAL = 0.01  # how far the entries of R^T R may lie from the identity's; matrices rounded to 3 decimals lie within
EXACT = 1e-5  # from which on a rotation is replaced by the nearest one
_LONGEST_PATH, _MOST_PARTS = 4096, 64


class ImageFinder:
    """Images of a folder by the names that other programs gave them; nothing outside of the folder is ever
    looked at.

    Understands Windows' backslashes, a missing extension and an extension in another case. A path that leads
    out of the folder (or an absolute one, of the computer where the capture was made) is looked for by its
    last parts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: dict[Path, dict[str, str]] = {}

    def find(self, named: str) -> tuple[Path | None, str | None]:
        """The image, None where there is none, and what is to be said of it: that it was found at another
        place, or is outside."""
        if len(named) > _LONGEST_PATH:
            return None, None
        for path in dict.fromkeys((named, named.replace("\\", "/"))):
            inside = _inside(path)
            if inside is not None and (found := self._with_extension(inside)):
                return found, None
        parts = re.sub(r"^[A-Za-z]:", "", named.replace("\\", "/")).split("/")
        parts = [part for part in parts if part not in ("", ".")][-_MOST_PARTS:]
        inside = _inside(named.replace("\\", "/"))
        if inside is not None:
            return self._scaled(inside)
        while ".." in parts:
            parts = parts[parts.index("..") + 1 :]
        for first in range(len(parts)):
            if found := self._with_extension("/".join(parts[first:])):
                return found, "has a path that leads out of the folder; the image of the same name in the folder is taken"
        return None, "lies outside of the folder, where nothing is read: move the images into it"

    def _scaled(self, inside: str) -> tuple[Path | None, str | None]:
        """An image of images/ in images_2/ or another folder of scaled copies."""
        head, _, rest = inside.partition("/")
        others = sorted(name for name in self._listed(self.folder).values() if SCALED.fullmatch(name)) if head == "images" else []
        for other in others:
            if found := self._with_extension(f"{other}/{rest}"):
                return found, f"is not in images/, but scaled in {other}/, which is taken"
        return None, None

    def _with_extension(self, inside: str) -> Path | None:
        for extension in EXTENSIONS:
            path = self.folder / f"{inside}{extension}"
            if is_file(path):
                return path
        for extension in EXTENSIONS:
            path = self.folder / f"{inside}{extension}"
            other = self._listed(path.parent).get(path.name.casefold())
            if other is not None and is_file(path.with_name(other)):
                return path.with_name(other)
        return None

    def _listed(self, folder: Path) -> dict[str, str]:
        """Names in a folder by their names without case."""
        if folder not in self._names:
            try:
                self._names[folder] = {name.casefold(): name for name in sorted(os.listdir(folder))}
            except (OSError, ValueError):
                self._names[folder] = {}
        return self._names[folder]


def is_file(path: Path) -> bool:
    """Whether a path names a file; one that cannot be a path names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long; a null byte or half a character in it
        return False


def checked_pose(where: str, pose: np.ndarray | None, problems: list[str]) -> np.ndarray | None:
    """A pose (4, 4) with an exact rotation; None, and a problem, where it is none. where: file and frame.
    pose: None where what is there is no matrix."""
    if pose is not None and pose.shape == (3, 4):
        pose = np.vstack([pose, [0.0, 0.0, 0.0, 1.0]])
    if pose is None or pose.shape != (4, 4):
        problems.append(f"{where} has no 4 x 4 'transform_matrix' of numbers: export its pose again.")
        return None
    if not np.isfinite(pose).all():
        problems.append(f"{where} has NaN or infinity in its 'transform_matrix': export its pose again or drop it.")
        return None
    if (np.abs(pose) > FARTHEST).any():
        problems.append(
            f"{where} has {np.abs(pose).max():.3g} in its 'transform_matrix', expected at most {FARTHEST:g}: correct it."
        )
        return None
    if np.abs(pose[3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-6:
        transposed = np.abs(pose[:, 3] - [0.0, 0.0, 0.0, 1.0]).max() <= 1e-6
        last = ", ".join(f"{value:.3g}" for value in pose[3])
        advice = "it is written by columns: transpose each matrix" if transposed else "divide it by its last entry, or export again"
        problems.append(f"{where} has the last row {last} in its 'transform_matrix', expected 0, 0, 0, 1: {advice}.")
        return None
    rotation = pose[:3, :3]
    error = np.abs(rotation.T @ rotation - np.eye(3)).max()
    if error > ORTHONORMAL or np.linalg.det(rotation) < 0:
        problems.append(
            f"{where} has a rotation that is not orthonormal (R^T R is off by {error:.2g}, determinant "
            f"{np.linalg.det(rotation):.3g}), expected a rotation without scale or mirroring: export its pose again."
        )
        return None
    if error > EXACT:
        left, _, right = np.linalg.svd(rotation)
        pose = pose.copy()
        pose[:3, :3] = left @ right
    return pose


def matrix_of(value: Any) -> np.ndarray | None:
    """Nested lists of numbers as a float64 array, of any shape; None for anything else."""
    try:
        return np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None


def in_order(where: str, frames: Sequence[Frame], problems: list[str]) -> list[Frame]:
    """The frames in the natural order of their paths, each once. A problem for each image that has two
    poses."""
    kept: dict[Path, Frame] = {}
    twice: set[Path] = set()
    for frame in frames:
        first = kept.setdefault(frame.image, frame)
        if first is frame:
            continue
        if np.abs(first.pose - frame.pose).max() > 1e-6 * (1 + np.abs(first.pose).max()) or first.numbers != frame.numbers:
            named = brief(frame.file_path)
            problems.append(f"{where} names {named} twice, with two poses or lenses, expected one each: remove the wrong one.")
        twice.add(frame.image)
    said = "is listed more than once and is taken once"
    once = [_noted(frame, said) if image in twice else frame for image, frame in kept.items()]
    return sorted(once, key=lambda frame: natural(frame.file_path))


def natural(file_path: str) -> list[tuple[int, str]]:
    """A sorting key that puts view_2 before view_10."""
    parts = re.split(r"(\d+)", file_path)
    return [(len(part.lstrip("0")), part.lstrip("0")) if part.isdecimal() else (-1, part) for part in parts]


def view_names(frames: Sequence[Frame]) -> tuple[str, ...]:
    """A name for each view, each another: file names without extension; with their folders where two would be
    the same; with a number where they still are."""
    paths = [PurePosixPath(re.sub(r"^[A-Za-z]:", "", frame.file_path.replace("\\", "/"))) for frame in frames]
    stems = [path.stem or "view" for path in paths]
    if len(set(stems)) == len(stems):
        return tuple(stems)
    joined = ["_".join(part for part in (*path.parent.parts, path.stem) if part not in ("/", "..")) or "view" for path in paths]
    names: dict[str, None] = {}
    for index, name in enumerate(joined):
        unique = name if joined.count(name) == 1 else f"{name}_{index}"
        while unique in names or (unique != name and unique in joined):
            unique += "_"
        names[unique] = None
    return tuple(names)


def _noted(frame: Frame, note: str) -> Frame:
    return Frame(**{**vars(frame), "notes": (*frame.notes, note)})


def _inside(path: str) -> str | None:
    """A relative path without `.` and `..`; None where it leads out of the folder."""
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        return None
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or None
