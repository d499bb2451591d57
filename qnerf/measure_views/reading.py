"""The folders that are measured: edited views by any method, the capture that they were made of and, if it is known, the truth.

Views are told apart by the names of their files. Cameras are those of the folder with the edited views, if it is a capture itself,
else those of the source views with the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.common.messages import nearest
from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.capture import View, make_view, undistort
from qnerf.scenes.fingerprint import scene_folder
from qnerf.scenes.focus import nearest_point_to_axes, radius_from_cameras
from qnerf.scenes.images import read_image
from qnerf.scenes.problems import raise_problems
from qnerf.scenes.readers.reader import Frame, reader_of, readers
from qnerf.scenes.scene import Scene, Truth
from qnerf.scenes.truth import read_truth

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LEAST_SIDE = 32
TRUTH = "truth.json"  # of a truth folder of qnerf's own, which has depth and silhouettes too


@dataclass(frozen=True)
class Capture:
    """What a folder of posed images says: of the whole scene, and its frames by the names of their views."""

    document: dict[str, Any]
    frames: dict[str, Frame]


@dataclass(frozen=True)
class Measured:
    """Edited and source views, as scenes with the same view names and sizes. The edited scene has the truth if all of it is
    known; true_images: (N, 3, H, W) in [0, 1], if only its pictures are. own_cameras: whether the edited views brought their
    own. notes: sentences that a reader of the figures must know."""

    edited: Scene
    source: Scene
    true_images: Tensor | None
    own_cameras: bool
    notes: tuple[str, ...]


def read_folders(edited: Path, source: str, truth: Path | None) -> Measured:
    """Raises one UserError that names all that is wrong with the folders or, if nothing is, all that is wrong with the views."""
    problems: list[str] = []
    before = _collect(problems, lambda: _source(source))
    own = _collect(problems, lambda: _own_capture(edited))
    pictures = _collect(problems, lambda: {n: f.image for n, f in own.frames.items()} if own else _pictures(edited, "edited views"))
    true = _collect(problems, lambda: _true_pictures(truth)) if truth is not None else None
    if before is None or pictures is None:
        raise_problems(str(edited), problems)
    assert before is not None and pictures is not None  # noqa: PT018
    problems += [_unknown(edited, name, before.frames, f"--source {source}") for name in pictures if name not in before.frames]
    problems += [_unknown(truth, name, true, f"--truth {truth}") for name in pictures if true is not None and name not in true]
    if len(pictures) < 2:
        problems.append(f"{edited} has {len(pictures)} views, expected at least two: the figures compare views with one another.")
    raise_problems(str(edited), problems)
    return _measured(edited, truth, before, own, pictures, true)


def _measured(
    edited: Path, truth: Path | None, before: Capture, own: Capture | None, pictures: dict[str, Path], true: dict[str, Path] | None
) -> Measured:
    names, problems = tuple(pictures), list[str]()

    def pair(name: str) -> tuple[View, View]:
        return _pair(before.frames[name], own and own.frames[name], pictures[name])

    pairs = [_collect(problems, lambda name=name: pair(name)) for name in names]
    raise_problems(str(edited), problems)
    views, sources = ([undistort(pair[which]) for pair in pairs] for which in (0, 1))
    width, height = size = _one_size(edited, names, views)
    cameras = own or before
    scene = _collect(problems, lambda: _scene("edited", names, views, cameras))
    source = _collect(problems, lambda: _scene("source", names, [fitted(view, width, height) for view in sources], before))
    full, images = _truth(truth, names, size, true, problems)
    raise_problems(str(edited), problems)
    return Measured(replace(scene, truth=full), source, images, own is not None, _notes(names, before, sources, size))


def _one_size(edited: Path, names: Sequence[str], views: Sequence[View]) -> tuple[int, int]:
    """Width and height of all views. Raises UserError where they differ or are too small."""
    sizes = [(view.image.shape[1], view.image.shape[0]) for view in views]
    width, height = sizes[0]
    others = [f"{name} {w} x {h}" for name, (w, h) in zip(names, sizes, strict=True) if (w, h) != sizes[0]]
    if others:
        more = ", …" if len(others) > 3 else ""
        raise UserError(
            f"{edited}: the views differ in size, {names[0]} has {width} x {height} pixels, but "
            f"{', '.join(others[:3])}{more}, expected one size: scale them."
        )
    if min(width, height) < LEAST_SIDE:
        raise UserError(f"{edited}: the views have {width} x {height} pixels, expected at least {LEAST_SIDE}: give larger ones.")
    return width, height


def fitted(view: View, width: int, height: int) -> View:
    """The largest part of a view round its middle that has these proportions, scaled to width x height pixels."""
    own_height, own_width = view.image.shape[:2]
    scale = min(own_width / width, own_height / height)
    size = np.array([round(width * scale), round(height * scale)])
    left, top = ((np.array([own_width, own_height]) - size) // 2).tolist()
    image = view.image[top : top + size[1], left : left + size[0]]
    if (size != [width, height]).any():
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC)
    factor = np.array([width, height]) / size
    return View(image, view.focal * factor, (view.centre - [left, top]) * factor, view.distortion)


def _collect(problems: list[str], read: Any) -> Any:
    """What is read, or None where that is a UserError, which is added to the problems."""
    try:
        return read()
    except UserError as error:
        problems.append(str(error))
        return None


def _capture(folder: Path, option: str) -> Capture:
    reader = reader_of(folder)
    if not reader.posed:
        raise UserError(f"{option} {folder} has no cameras, expected a folder of posed images: give one with transforms.json.")
    document, frames = reader.read(folder)
    frames = [frame for frame in frames if frame.exists]
    stems = [Path(frame.file_path).stem for frame in frames]
    names = stems if len(set(stems)) == len(stems) else ["_".join(Path(f.file_path).with_suffix("").parts) for f in frames]
    return Capture(document, dict(zip(names, frames, strict=True)))


def _source(path: str) -> Capture:
    try:
        return _capture(scene_folder(path), "--source")
    except UserError as error:
        raise UserError(str(error).replace("scene.path", "--source")) from None


def _own_capture(folder: Path) -> Capture | None:
    if folder.is_dir() and any(reader.posed and reader.finds(folder) for reader in readers().values()):
        return _capture(folder, "edited views:")
    return None


def _pictures(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder, expected one with the {what}: give the right path.")
    paths = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    found = {path.stem: path for path in paths}
    if not found:
        raise UserError(f"{folder} has no pictures ({', '.join(SUFFIXES)}), expected the {what}, named like those of --source.")
    if len(found) < len(paths):
        twice = sorted({path.stem for path in paths if found[path.stem] != path})
        raise UserError(f"{folder} has two pictures of {', '.join(twice)}, expected one of each view: remove the others.")
    return found


def _true_pictures(folder: Path) -> dict[str, Path]:
    """By view; of a truth folder of qnerf's own those of the edited views, which lie in a folder of it."""
    return _pictures(folder / "edited" if (folder / TRUTH).is_file() else folder, "true edited views")


def _unknown(folder: Path | None, name: str, known: Any, where: str) -> str:
    close = nearest(name, known)
    hint = f"; nearest: {close}" if close else ""
    return f"{folder}: the view {name} is not in {where}{hint}; expected the same file names: rename or remove it."


def _pair(before: Frame, own: Frame | None, picture: Path) -> tuple[View, View]:
    """An edited view and the source's. Without cameras of its own it has the source's, scaled to its size."""
    source, image = make_view(before, read_image(before.image)), read_image(picture)
    if own is not None:
        return make_view(own, image), source
    (height, width), (own_height, own_width) = image.shape[:2], source.image.shape[:2]
    if abs(width * own_height - height * own_width) > max(own_width, own_height):
        raise UserError(
            f"{picture} has {width} x {height} pixels, its source view {own_width} x {own_height}: it cannot be a scaled copy, "
            "so that its camera is not known; give the folder a transforms.json with the cameras of the edited views."
        )
    scale = np.array([width / own_width, height / own_height])
    return View(image, source.focal * scale, source.centre * scale, source.distortion), source


def _notes(names: Sequence[str], before: Capture, views: Sequence[View], size: tuple[int, int]) -> tuple[str, ...]:
    notes = []
    if len(names) < len(before.frames):
        notes.append(f"{len(names)} of the {len(before.frames)} source views were edited: the others are not counted anywhere.")
    width, height = views[0].image.shape[1], views[0].image.shape[0]
    if (width, height) != size:
        notes.append(f"The source views of {width} x {height} pixels were cut and scaled to {size[0]} x {size[1]}.")
    return tuple(notes)


def _scene(name: str, names: tuple[str, ...], views: Sequence[View], capture: Capture) -> Scene:
    """Raises UserError where the cameras do not say what they look at."""
    poses = np.stack([capture.frames[name].pose for name in names])
    focus, radius = capture.document.get("focus"), capture.document.get("radius")
    focus = nearest_point_to_axes(poses) if focus is None else np.array(focus, dtype=np.float64)
    radius = radius_from_cameras(poses, focus) if radius is None else float(radius)
    height, width = views[0].image.shape[:2]
    cameras = Cameras(
        torch.from_numpy(poses).float(),
        torch.from_numpy(np.stack([view.focal for view in views])).float(),
        torch.from_numpy(np.stack([view.centre for view in views])).float(),
        width,
        height,
    )
    point = torch.from_numpy(focus).float()
    return Scene(name, names, _stacked([view.image for view in views]), cameras, "", "", point, radius, None, None)


def _truth(
    folder: Path | None, names: tuple[str, ...], size: tuple[int, int], pictures: dict[str, Path] | None, problems: list[str]
) -> tuple[Truth | None, Tensor | None]:
    """All of the truth, or its pictures alone, at the views' size."""
    if folder is None or pictures is None:
        return None, None
    if (folder / TRUTH).is_file():
        return read_truth(folder, names, {}, size, True, problems), None
    images = [_collect(problems, lambda path=pictures[name]: read_image(path)) for name in names]
    if any(image is None for image in images):
        return None, None
    return None, _stacked([fitted(View(image, np.ones(2), np.zeros(2), np.zeros(5)), *size).image for image in images])


def _stacked(images: Sequence[np.ndarray]) -> Tensor:
    """(N, 3, H, W) in [0, 1] of N pictures (H, W, 3) of bytes."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)
