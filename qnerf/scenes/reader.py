"""Read a scene from its folder. Everything downstream of the disk sees only the `Scene` that comes out of
here."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from qnerf.scenes.scene import Proxy, Scene
from qnerf.scenes.settings import SceneSettings, width_height
from qnerf.scenes.truth import read_truth
from qnerf.scenes.view_choice import chosen_views
from qnerf.scenes.visibility import moved_points, visibility_problem
from qnerf.scenes.world import World, world_of

logger = logging.getLogger(__name__)


def read_scene(settings: SceneSettings) -> Scene:
    """As `read_with_notes`; what is to be said of the scene is logged as warnings."""
    scene, notes = read_with_notes(settings)
    for note in notes:
        logger.warning("%s.", note)
    return scene


def read_with_notes(settings: SceneSettings) -> tuple[Scene, list[str]]:
    """The scene at settings.path as square views of settings.size pixels, and what is to be said of how it was read.

    Raises one UserError that names everything that is wrong: with the poses and intrinsics first, or else
    with the images, the proxy, the prompts and the truth. Images that are named but missing are left out, with
    one note.
    """
    folder = scene_folder(settings.path)
    reader = reader_of(folder, settings.reader)
    document, every = reader.read(folder)
    home = home_of(folder) if reader.posed else folder
    origin = _origin(folder, reader)
    every = [_turned(frame, settings.axes) for frame in every]
    frames = _present(origin, every, reader.least)
    known = np.stack([frame.pose for frame in frames]) if reader.posed else None
    frames = [frames[i] for i in chosen_views(settings.views, view_names(frames), reader.least, origin, known)]
    problems: list[str] = []
    poses = np.stack([frame.pose for frame in frames])
    region = region_of(folder, reader, document, every, poses, settings)
    problems += region.problems
    world = world_of(region.focus, region.radius, poses)
    names = view_names(frames)
    proxy = _read_proxy(home, settings, world, problems) if reader.posed else None
    of_own_proxy = settings.proxy is None
    shown = None if proxy is None or (of_own_proxy and (home / "truth").is_dir()) else moved_points(proxy).double().numpy()
    placed = zip(frames, world.poses(poses), strict=True)
    tried = [_read_view(frame, pose, shown, settings, problems) for frame, pose in placed]
    read = [each for each in tried if each is not None]
    views, photographs = [view for view, _, _ in read], tuple(photograph for _, photograph, _ in read)
    sizes = {name: (each[1].width, each[1].height) for name, each in zip(names, tried, strict=True) if each is not None}
    size = width_height(settings.size)
    truth = read_truth(home / "truth", names, sizes, size, settings.crop, problems) if of_own_proxy else None
    if truth is not None and not world.same:
        depths = (truth.depth_source / world.scale, truth.depth_edited / world.scale)
        truth = replace(truth, depth_source=depths[0], depth_edited=depths[1])
    own = _own_prompts(frames, settings)
    prompts = ("", "") if own else _prompts(origin, document, settings, problems)
    raise_problems(str(folder), problems)
    images = np.stack([view.image for view in views]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    cameras = Cameras(
        torch.from_numpy(world.poses(poses)).float(),
        torch.from_numpy(np.stack([view.focal for view in views])).float(),
        torch.from_numpy(np.stack([view.centre for view in views])).float(),
        *size,
    )
    point = torch.tensor(world.inward(region.focus), dtype=torch.float32)
    larger = any(photograph.width * photograph.height > size[0] * size[1] for photograph in photographs)
    whole = photographs if larger else None
    masks = torch.from_numpy(np.stack([mask for _, _, mask in read])) if any(frame.mask for frame in frames) else None
    beside = read_beside(photographs, cameras, size, world.scale, problems)
    limits = limits_of(folder, reader, beside.depth, cameras, world)
    raise_problems(str(folder), problems)
    if proxy is not None:
        problem, warning = visibility_problem(str(proxy_file(home, settings.proxy)), proxy, cameras, names)
        raise_problems(str(folder), [problem] if problem else [])
        region.warnings += [warning] if warning else []
        file = proxy_file(home, settings.proxy)
        region.warnings += [still_sentence(file)] if moves_nothing(read_proxy_file(file)) else []
    frames = [_with_notes(frame, photograph) for frame, photograph in zip(frames, photographs, strict=True)]
    notes = [*_missing(origin, every), *region.warnings, *_notes(origin, frames), *beside.notes]
    radius = region.radius / world.scale
    scene = Scene(home.name, names, torch.from_numpy(images), cameras, *prompts, point, radius, proxy, truth, whole)
    more = {"valid": beside.valid, "depth": beside.depth, "limits": limits}
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


def _origin(folder: Path, reader: Reader) -> Path:
    """The file that says where the images are, for messages."""
    return next(iter(reader.files(folder)), folder) if reader.posed else folder


def _turned(frame: Frame, axes: str | None) -> Frame:
    return replace(frame, pose=frame.pose @ FLIP) if axes == "opencv" else frame


def _with_notes(frame: Frame, photograph: Photograph) -> Frame:
    """The frame, with notes where its image is a copy in another scale than its intrinsics', or these are strange."""
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


def _read_view(
    frame: Frame, pose: np.ndarray, shown: np.ndarray | None, settings: SceneSettings, problems: list[str]
) -> tuple[View, Photograph, np.ndarray] | None:
    """The view, what it was made of, and where its edit may be, (H, W) float32, 0 or 1. pose: (4, 4). shown: (P, 3) points that the
    crop is to show, in the same coordinates; None: the crop is the middle."""
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
    return view, Photograph(frame, width, height, window), (allowed.image > 0).astype(np.float32)


def mask_of(frame: Frame, height: int, width: int) -> np.ndarray:
    """Where the edit of a frame's image may be, (height, width) uint8, 0 or 255; everywhere if it has no mask. Raises UserError
    where the mask goes beyond the image."""
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
