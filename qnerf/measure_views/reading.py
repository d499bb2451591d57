"""The folders that are measured: edited views by any method, the capture that they were made of and, if it is known, the truth.

Views are told apart by the names of their files. Cameras are those of the folder with the edited views, if it is a capture itself,
else those of the source views with the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qnerf.common.messages import nearest
from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.capture import View, crop_to, make_view, named_size, piece_seen_by, read_view, resize, undistort
from qnerf.scenes.fingerprint import scene_folder
from qnerf.scenes.focus import find_region
from qnerf.scenes.frames import view_names
from qnerf.scenes.images import is_scaled, read_image
from qnerf.scenes.problems import raise_problems
from qnerf.scenes.readers.reader import Frame, reader_of, readers
from qnerf.scenes.scene import Scene, Truth
from qnerf.scenes.truth import read_truth
from qnerf.scenes.world import world_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LEAST_SIDE = 32
FOLDERS = "the folders"  # where problems are, for messages
TRUTH = "truth.json"  # of a truth folder of qnerf's own, which has depth and silhouettes too


@dataclass(frozen=True)
class Capture:
    """What a folder of posed images says. document: of the whole scene. frames: by the names of their views. points: of the
    scene's surface, (P, 3), or None. axes_known: whether there is no doubt about the cameras' axes."""

    folder: Path
    document: dict[str, Any]
    frames: dict[str, Frame]
    points: np.ndarray | None
    axes_known: bool


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
        raise_problems(FOLDERS, problems)
    assert before is not None and pictures is not None  # noqa: PT018
    problems += [_unknown(edited, name, before.frames, f"--source {source}") for name in pictures if name not in before.frames]
    problems += [_unknown(truth, name, true, f"--truth {truth}") for name in pictures if true is not None and name not in true]
    if len(pictures) < 2:
        problems.append(f"{edited} has {len(pictures)} views, expected at least two: the figures compare views with one another.")
    raise_problems(FOLDERS, problems)
    return _measured(edited, truth, before, own, pictures, true)


def _measured(
    edited: Path, truth: Path | None, before: Capture, own: Capture | None, pictures: dict[str, Path], true: dict[str, Path] | None
) -> Measured:
    names, problems = tuple(pictures), list[str]()

    def pair(name: str) -> tuple[View, View]:
        return _pair(before.frames[name], own and own.frames[name], pictures[name])

    pairs = [_collect(problems, lambda name=name: pair(name)) for name in names]
    raise_problems(FOLDERS, problems)
    views, sources = ([pair[which] for pair in pairs] for which in (0, 1))
    size = _one_size(edited, names, views)
    notes = _notes(names, before, sources, size)
    scene = _scene("edited", names, views, own or before, problems, notes)
    pieces = [piece_seen_by(view, like, size) if own else fitted(view, size) for view, like in zip(sources, views, strict=True)]
    source = _scene("source", names, pieces, before, problems, notes)
    full, images = _truth(truth, names, size, true, problems)
    raise_problems(FOLDERS, problems)
    if full is not None:
        scale = scene.world.scale
        full = replace(full, depth_source=full.depth_source / scale, depth_edited=full.depth_edited / scale)
    return Measured(replace(scene, truth=full), source, images, own is not None, tuple(dict.fromkeys(notes)))


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


def fitted(view: View, size: tuple[int, int]) -> View:
    """The largest part of a view round its middle that has the proportions of size (width, height, pixels), scaled to it."""
    return resize(crop_to(view, size), size)


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
    document, every = reader.read(folder)
    frames = [frame for frame in every if frame.exists]
    names = view_names(frames)
    return Capture(folder, document, dict(zip(names, frames, strict=True)), reader.points(folder), reader.axes_known)


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
    """An edited view and the source's, without lens distortion. Without a camera of its own it has the source's, scaled."""
    if own is not None:
        return read_view(own), read_view(before)
    source, image = make_view(before, read_image(before.image, named_size(before))), read_image(picture)
    (height, width), (own_height, own_width) = image.shape[:2], source.image.shape[:2]
    if not is_scaled((width, height), (own_width, own_height)):
        raise UserError(
            f"{picture} has {width} x {height} pixels, its source view {own_width} x {own_height}: it cannot be a scaled copy, "
            "so that its camera is not known; give the folder a transforms.json with the cameras of the edited views."
        )
    scale = np.array([width / own_width, height / own_height])
    view = replace(source, image=image, focal=source.focal * scale, centre=source.centre * scale)
    try:
        return undistort(view), undistort(source)
    except UserError as error:
        raise UserError(f"{before.image}: {error}.") from None


def _notes(names: Sequence[str], before: Capture, views: Sequence[View], size: tuple[int, int]) -> list[str]:
    notes = []
    if len(names) < len(before.frames):
        notes.append(f"{len(names)} of the {len(before.frames)} source views were edited: the others are not counted anywhere.")
    width, height = views[0].image.shape[1], views[0].image.shape[0]
    if (width, height) != size:
        notes.append(f"The source views of {width} x {height} pixels were cut and scaled to {size[0]} x {size[1]}.")
    return notes


def _scene(
    name: str, names: tuple[str, ...], views: Sequence[View], capture: Capture, problems: list[str], notes: list[str]
) -> Scene:
    """Adds to the problems where the cameras do not say what they look at, and to the notes where they say it badly."""
    poses = np.stack([capture.frames[name].pose for name in names])
    every = np.stack([frame.pose for frame in capture.frames.values()])
    given = capture.document.get("focus"), capture.document.get("radius")
    region = find_region(str(capture.folder), given, poses, every, capture.points, capture.axes_known)
    problems += region.problems
    notes += region.warnings
    world = world_of(region.focus, region.radius, poses)
    height, width = views[0].image.shape[:2]
    cameras = Cameras(
        torch.from_numpy(world.poses(poses)).float(),
        torch.from_numpy(np.stack([view.focal for view in views])).float(),
        torch.from_numpy(np.stack([view.centre for view in views])).float(),
        width,
        height,
    )
    point, radius = torch.tensor(world.inward(region.focus), dtype=torch.float32), region.radius / world.scale
    images = _stacked([view.image for view in views])
    return Scene(name, names, images, cameras, "", "", point, radius, None, None, world=world)


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
    return None, _stacked([fitted(View(image, np.ones(2), np.zeros(2), np.zeros(5)), size).image for image in images])


def _stacked(images: Sequence[np.ndarray]) -> Tensor:
    """(N, 3, H, W) in [0, 1] of N pictures (H, W, 3) of bytes."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)
