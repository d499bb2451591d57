"""Read a scene from its folder. Everything downstream of the disk sees only the `Scene` that comes
out of here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.capture import View, centre_piece, cut, named_size, piece_showing, read_view, resize
from qnerf.scenes.fingerprint import home_of, proxy_file, scene_folder
from qnerf.scenes.focus import FLIP, Region, find_region
from qnerf.scenes.frames import view_names
from qnerf.scenes.lens import centre_of, focal_of, intrinsics_notes
from qnerf.scenes.mask_focus import middle_of_masks
from qnerf.scenes.masks_and_depth import limits_of, read_beside
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.problems import brief, raise_problems
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.proxy_file import moves_nothing, read_proxy_file, still_sentence
from qnerf.scenes.readers.reader import Frame, Reader, reader_of
from qnerf.scenes.scene import Proxy, Scene, Truth
from qnerf.scenes.settings import SceneSettings, width_height
from qnerf.scenes.truth import read_truth
from qnerf.scenes.view_choice import chosen_views
from qnerf.scenes.visibility import moved_points, visibility_problem
from qnerf.scenes.world import World, world_of

logger = logging.getLogger(__name__)


class ReadView(NamedTuple):
    """A view, what it was made of, and where its edit may be, (H, W) float32, 0 or 1."""

    view: View
    photograph: Photograph
    mask: np.ndarray


def read_scene(settings: SceneSettings) -> Scene:
    """As `read_with_notes`; what is to be said of the scene is logged as warnings."""
    scene, notes = read_with_notes(settings)
    for note in notes:
        logger.warning("%s.", note)
    return scene


def read_with_notes(settings: SceneSettings) -> tuple[Scene, list[str]]:
    """The scene at settings.path as square views of settings.size pixels, and what is to be said of
    how it was read.

    Raises one UserError that names everything that is wrong: with the poses and intrinsics first,
    or else with the images, the proxy, the prompts and the truth. Images that are named but missing
    are left out, with one note.
    """
    folder = scene_folder(settings.path)
    reader = reader_of(folder, settings.reader)
    document, every = reader.read(folder)
    every = [_turned(frame, settings.axes) for frame in every]
    home, origin, size = home_of(folder) if reader.posed else folder, _origin(folder, reader), width_height(settings.size)
    frames = _taken(origin, every, reader, settings)
    names, poses = view_names(frames), np.stack([frame.pose for frame in frames])
    region = region_of(folder, reader, document, every, poses, settings)
    problems = [*region.problems]
    world = world_of(region.focus, region.radius, poses)
    proxy = _read_proxy(home, settings, world, problems) if reader.posed else None
    read = _read_views(frames, names, world.poses(poses), _points_to_show(home, proxy, settings), settings, problems)
    truth = _truth_of(home, read, names, world, settings, problems)
    own = _own_prompts(frames, settings)
    prompts = ("", "") if own else _prompts(origin, document, settings, problems)
    raise_problems(str(folder), problems)  # what is left has every view
    photographs = tuple(each.photograph for each in read.values())
    cameras = _cameras([each.view for each in read.values()], world.poses(poses), size)
    beside = read_beside(photographs, cameras, size, world.scale, problems)
    limits = limits_of(folder, reader, beside.depth, cameras, world)
    raise_problems(str(folder), problems)
    warnings = [*region.warnings, *(_proxy_warnings(folder, home, settings, proxy, cameras, names) if proxy is not None else ())]
    frames = [_with_notes(frame, photograph) for frame, photograph in zip(frames, photographs, strict=True)]
    notes = [*_missing(origin, every), *warnings, *_notes(origin, frames), *beside.notes]
    larger = any(photograph.width * photograph.height > size[0] * size[1] for photograph in photographs)
    point, masks = torch.tensor(world.inward(region.focus), dtype=torch.float32), _masks(frames, read)
    scene = Scene(home.name, names, _images(read), cameras, *prompts, point, region.radius / world.scale, proxy, truth)
    more = {"valid": beside.valid, "depth": beside.depth, "limits": limits, "photographs": photographs if larger else None}
    return replace(scene, posed=reader.posed, own_prompts=own, masks=masks, world=world, **more), notes


def region_of(
    folder: Path, reader: Reader, document: dict[str, Any], frames: list[Frame], poses: np.ndarray, settings: SceneSettings
) -> Region:
    """Focus and radius: from the settings, else from the folder, else from the cameras. frames: all of the
    capture. poses: (N, 4, 4) of the views that are taken."""
    given = (
        settings.focus if settings.focus is not None else document.get("focus"),
        settings.radius if settings.radius is not None else document.get("radius"),
    )
    if not reader.posed:
        return find_region(str(folder), given, poses, poses, axes_known=True)
    every = np.stack([frame.pose for frame in frames if frame.exists])
    known = reader.axes_known or settings.axes is not None
    points = reader.points(folder) if given[0] is None else None
    return find_region(str(_origin(folder, reader)), given, poses, every, points, known, lambda: middle_of_masks(frames))


def _taken(origin: Path, every: list[Frame], reader: Reader, settings: SceneSettings) -> list[Frame]:
    """The frames that become views: of those whose images exist, the ones that `scene.views` chooses."""
    frames = _present(origin, every, reader.least)
    known = np.stack([frame.pose for frame in frames]) if reader.posed else None
    return [frames[i] for i in chosen_views(settings.views, view_names(frames), reader.least, origin, known)]


def _origin(folder: Path, reader: Reader) -> Path:
    """The file that says where the images are, for messages."""
    return next(iter(reader.files(folder)), folder) if reader.posed else folder


def _turned(frame: Frame, axes: str | None) -> Frame:
    return replace(frame, pose=frame.pose @ FLIP) if axes == "opencv" else frame


def _with_notes(frame: Frame, photograph: Photograph) -> Frame:
    """The frame, with notes where its image is a copy in another scale than its intrinsics', or
    these are strange."""
    found = (photograph.width, photograph.height)
    named = named_size(frame) or found
    notes = intrinsics_notes(focal_of(frame.numbers, *named), centre_of(frame.numbers, *named), named)
    if named != found:
        notes.append(f"has {found[0]} x {found[1]} pixels, its intrinsics {named[0]} x {named[1]}: they are scaled to the image")
    return replace(frame, notes=(*frame.notes, *notes))


def _notes(origin: Path, frames: list[Frame]) -> list[str]:
    """What is to be said of how frames are read, a sentence for each kind."""
    kinds: dict[str, list[str]] = {}
    for frame in frames:
        for note in frame.notes:
            kinds.setdefault(note, []).append(brief(frame.file_path))
    return [
        f"{origin}: {names[0]} {note}" + (f"; so do {len(names) - 1} others" if len(names) > 1 else "")
        for note, names in kinds.items()
    ]


def _present(origin: Path, frames: list[Frame], least: int) -> list[Frame]:
    """The frames whose images exist."""
    present = [frame for frame in frames if frame.exists]
    missing = [brief(frame.file_path) for frame in frames if not frame.exists]
    if len(present) < least:
        named = f"{origin} names {len(frames)} image{'s' * (len(frames) != 1)}"
        if missing:
            named += f", of which {len(present)} exist (missing: {', '.join(missing[:3])}{', …' * (len(missing) > 3)})"
        outside = (f" ({brief(frame.file_path)} {note})" for frame in frames if not frame.exists for note in frame.notes[:1])
        advice = f"add {'the' if missing else 'more'} images or correct file_path{next(outside, '')}"
        raise UserError(f"{named}, expected at least {least}: {advice}.")
    return present


def _missing(origin: Path, frames: list[Frame]) -> list[str]:
    missing = [brief(frame.file_path) for frame in frames if not frame.exists]
    there, shown = len(frames) - len(missing), ", ".join(missing[:3])
    said = f"{origin} names {len(frames)} images, of which {there} exist; the {len(missing)} missing ones ({shown}, …) are left out"
    return [said] if missing else []


def _points_to_show(home: Path, proxy: Proxy | None, settings: SceneSettings) -> np.ndarray | None:
    """(P, 3) points that crops are to show. None: crops are the middle, as they are where there is
    a truth, which was cut so."""
    if proxy is None or (settings.proxy is None and (home / "truth").is_dir()):
        return None
    return moved_points(proxy).double().numpy()


def _read_views(
    frames: list[Frame], names: tuple[str, ...], poses: np.ndarray, shown: np.ndarray | None, settings: SceneSettings,
    problems: list[str],
) -> dict[str, ReadView]:  # fmt: skip
    """By the views' names, those that could be read."""
    tried = [_read_view(frame, pose, shown, settings, problems) for frame, pose in zip(frames, poses, strict=True)]
    return {name: each for name, each in zip(names, tried, strict=True) if each is not None}


def _read_view(
    frame: Frame, pose: np.ndarray, shown: np.ndarray | None, settings: SceneSettings, problems: list[str]
) -> ReadView | None:
    """None where something is wrong with it. pose: (4, 4). shown: (P, 3) points that the crop is to
    show, in the same coordinates; None: the crop is the middle."""
    try:
        view = read_view(frame)
        allowed = replace(view, image=mask_of(frame, *view.image.shape[:2]))
    except UserError as error:
        problems.append(str(error))
        return None
    (height, width), size = view.image.shape[:2], width_height(settings.size)
    window = (0, 0, width, height)
    if settings.crop:
        window = centre_piece(width, height, size) if shown is None else piece_showing(view, pose, shown, size)
    view, allowed = (resize(cut(each, window), size) for each in (view, allowed))
    if not allowed.image.any():
        problems.append(
            f"{frame.image} has a mask that lies outside the part of the image which is used: set scene.crop=false, which uses all "
            "of it, or correct the mask."
        )
        return None
    return ReadView(view, Photograph(frame, width, height, window), (allowed.image > 0).astype(np.float32))


def mask_of(frame: Frame, height: int, width: int) -> np.ndarray:
    """Where the edit of a frame's image may be, (height, width) uint8, 0 or 255; everywhere if it
    has no mask. Raises UserError where the mask goes beyond the image."""
    if not frame.mask:
        return np.full((height, width), 255, dtype=np.uint8)
    mask = np.zeros(height * width, dtype=np.uint8)
    for first, count in zip(frame.mask[::2], frame.mask[1::2], strict=True):
        if first + count > len(mask):
            raise UserError(
                f"{frame.image} has {width} x {height} pixels, from 0 to {len(mask) - 1}, but its mask has a run of {count} "
                f"from pixel {first} on: let image_path name the image that the mask belongs to, or shorten the run."
            )
        mask[first : first + count] = 255
    return mask.reshape(height, width)


def _own_prompts(frames: list[Frame], settings: SceneSettings) -> tuple[tuple[str, str], ...] | None:
    """The prompts of images that have their own, the settings' in their place where these have some."""
    found = [frame.prompts for frame in frames if frame.prompts is not None]
    given = settings.source_prompt, settings.target_prompt
    replaced = (tuple(own if text is None else text for text, own in zip(given, prompts, strict=True)) for prompts in found)
    return tuple((source, target) for source, target in replaced) or None


def _read_proxy(home: Path, settings: SceneSettings, world: World, problems: list[str]) -> Proxy | None:
    try:
        path = proxy_file(home, settings.proxy)
        return read_proxy(path, world) if settings.proxy is not None or path.exists() else None
    except UserError as error:
        problems.append(str(error))
        return None


def _prompts(origin: Path, document: dict[str, Any], settings: SceneSettings, problems: list[str]) -> tuple[str, str]:
    """The source and the target prompt; an edit of the geometry alone has one prompt for both."""
    source = settings.source_prompt if settings.source_prompt is not None else document.get("prompt")
    target = settings.target_prompt if settings.target_prompt is not None else document.get("target_prompt", source)
    if not isinstance(source, str) or not isinstance(target, str):
        problems.append(f"{origin} has no 'prompt' (what the views show): set scene.source_prompt.")
    return str(source), str(target)


def _images(read: Mapping[str, ReadView]) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([each.view.image for each in read.values()]).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def _masks(frames: list[Frame], read: Mapping[str, ReadView]) -> torch.Tensor | None:
    """(N, H, W), 0 or 1, where an edit may be; none where no frame says it."""
    return torch.from_numpy(np.stack([each.mask for each in read.values()])) if any(frame.mask for frame in frames) else None


def _truth_of(
    home: Path, read: Mapping[str, ReadView], names: tuple[str, ...], world: World, settings: SceneSettings, problems: list[str]
) -> Truth | None:
    """The folder's truth in the scene's units; none for another proxy, whose edit it does not show."""
    if settings.proxy is not None:
        return None
    sizes = {name: (each.photograph.width, each.photograph.height) for name, each in read.items()}
    truth = read_truth(home / "truth", names, sizes, width_height(settings.size), settings.crop, problems)
    if truth is None or world.same:
        return truth
    return replace(truth, depth_source=truth.depth_source / world.scale, depth_edited=truth.depth_edited / world.scale)


def _cameras(views: list[View], poses: np.ndarray, size: tuple[int, int]) -> Cameras:
    """poses: (N, 4, 4). size: width and height, pixels."""
    return Cameras(
        torch.from_numpy(poses).float(),
        torch.from_numpy(np.stack([view.focal for view in views])).float(),
        torch.from_numpy(np.stack([view.centre for view in views])).float(),
        *size,
    )


def _proxy_warnings(
    folder: Path, home: Path, settings: SceneSettings, proxy: Proxy, cameras: Cameras, names: tuple[str, ...]
) -> list[str]:
    """What is to be said of what the views show of a proxy. Raises UserError where they show
    nothing of it."""
    file = proxy_file(home, settings.proxy)
    problem, warning = visibility_problem(str(file), proxy, cameras, names)
    raise_problems(str(folder), [problem] if problem else [])
    return [*([warning] if warning else []), *([still_sentence(file)] if moves_nothing(read_proxy_file(file)) else [])]
