"""Read a scene from its folder. Everything downstream of the disk sees only the `Scene` that comes out of here."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.capture import (
    View,
    centre_piece,
    crop_to,
    make_view,
    nearest_point_to_axes,
    radius_from_cameras,
    resize,
    spread_evenly,
    undistort,
)
from qnerf.scenes.fingerprint import proxy_file, scene_folder
from qnerf.scenes.images import read_image
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.problems import raise_problems
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.readers.reader import Frame, reader_of
from qnerf.scenes.scene import Proxy, Scene
from qnerf.scenes.settings import SceneSettings, width_height
from qnerf.scenes.truth import read_truth

logger = logging.getLogger(__name__)


def read_scene(settings: SceneSettings) -> Scene:
    """The scene at settings.path as views of settings.size pixels.

    Raises one UserError that names everything that is wrong: with the poses and intrinsics first, or else with the
    images, the proxy, the prompts and the truth. Images that are named but missing are left out with one warning.
    """
    folder = scene_folder(settings.path)
    reader = reader_of(folder, settings.reader)
    document, frames = reader.read(folder)
    origin = folder / reader.looks_for if reader.posed else folder
    frames = _present(origin, frames, settings.views, reader.least)
    problems: list[str] = []
    names = _view_names(frames)
    tried = [_read_view(frame, settings, problems) for frame in frames]
    read = [each for each in tried if each is not None]
    views, photographs = [view for view, _, _ in read], tuple(photograph for _, photograph, _ in read)
    sizes = {name: (each[1].width, each[1].height) for name, each in zip(names, tried, strict=True) if each is not None}
    proxy = _read_proxy(folder, settings, problems)
    twice = [path for path, count in Counter(frame.file_path for frame in frames).items() if count > 1 and reader.posed]
    if twice and (folder / "truth").is_dir():  # named by view, so that two views of one name have none
        problems.append(f"{origin} names {', '.join(twice[:3])} twice, expected each image once: remove the second frame.")
    elif twice:
        logger.warning("%s names %s twice: each is a view of its own, with a number in its name.", origin, ", ".join(twice[:3]))
    of_own_proxy = not settings.proxy and not twice
    size = width_height(settings.size)
    truth = read_truth(folder / "truth", names, sizes, size, settings.crop, problems) if of_own_proxy else None
    own = _own_prompts(frames, settings)
    prompts = ("", "") if own else _prompts(origin, document, settings, problems)
    poses = np.stack([frame.pose for frame in frames])
    focus, radius = _region(origin, document, settings, poses, problems)
    raise_problems(str(folder), problems)
    images = np.stack([view.image for view in views]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    cameras = Cameras(
        torch.from_numpy(poses).float(),
        torch.from_numpy(np.stack([view.focal for view in views])).float(),
        torch.from_numpy(np.stack([view.centre for view in views])).float(),
        *size,
    )
    point = torch.tensor(focus, dtype=torch.float32)
    larger = any(photograph.width * photograph.height > size[0] * size[1] for photograph in photographs)
    whole = photographs if larger else None
    masks = torch.from_numpy(np.stack([mask for _, _, mask in read])) if any(frame.mask for frame in frames) else None
    scene = Scene(folder.name, names, torch.from_numpy(images), cameras, *prompts, point, radius, proxy, truth, whole)
    return replace(scene, posed=reader.posed, own_prompts=own, masks=masks)


def _present(origin: Path, frames: list[Frame], wanted: int | None, least: int) -> list[Frame]:
    """The frames whose images exist, `wanted` of them evenly spread."""
    present = [frame for frame in frames if frame.exists]
    missing = [frame.file_path for frame in frames if not frame.exists]
    if len(present) < least:
        named = f"{origin} names {len(frames)} image{'s' * (len(frames) != 1)}"
        if missing:
            named += f", of which {len(present)} exist (missing: {', '.join(missing[:3])}{', …' * (len(missing) > 3)})"
        raise UserError(f"{named}, expected at least {least}: add {'the' if missing else 'more'} images or correct file_path.")
    if missing:
        logger.warning(
            "%s names %d images, of which %d exist; the %d missing ones (%s, …) are left out.",
            origin, len(frames), len(present), len(missing), ", ".join(missing[:3]),
        )  # fmt: skip
    if wanted is not None and wanted > len(present):
        raise UserError(f"scene.views is {wanted}, but {origin.parent} has {len(present)} images: set it to at most this number.")
    return [present[index] for index in spread_evenly(len(present), wanted)]


def _read_view(frame: Frame, settings: SceneSettings, problems: list[str]) -> tuple[View, Photograph, np.ndarray] | None:
    """The view, what it was made of, and where its edit may be, (H, W) float32, 0 or 1."""
    try:
        view = undistort(make_view(frame, read_image(frame.image)))
        allowed = replace(view, image=mask_of(frame, *view.image.shape[:2]))
    except UserError as error:
        problems.append(str(error))
        return None
    (height, width), size = view.image.shape[:2], width_height(settings.size)
    window = centre_piece(width, height, size) if settings.crop else (0, 0, width, height)
    view, allowed = (resize(crop_to(each, size) if settings.crop else each, size) for each in (view, allowed))
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


def _view_names(frames: list[Frame]) -> tuple[str, ...]:
    """File names without extension; with their folders where two would be the same, and numbered where one file is there twice."""
    stems = [Path(frame.file_path).stem for frame in frames]
    if len(set(stems)) == len(stems):
        return tuple(stems)
    names = ["_".join(Path(frame.file_path).with_suffix("").parts) for frame in frames]
    return tuple(names) if len(set(names)) == len(names) else tuple(f"{name}_{index}" for index, name in enumerate(names))


def _read_proxy(folder: Path, settings: SceneSettings, problems: list[str]) -> Proxy | None:
    try:
        path = proxy_file(folder, settings.proxy)
        return read_proxy(path) if settings.proxy is not None or path.exists() else None
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


def _region(
    origin: Path, document: dict[str, Any], settings: SceneSettings, poses: np.ndarray, problems: list[str]
) -> tuple[list[float], float]:
    """Focus and radius: from the settings, else from the folder, else from the cameras."""
    focus = settings.focus if settings.focus is not None else document.get("focus")
    radius = settings.radius if settings.radius is not None else document.get("radius")
    try:
        point = nearest_point_to_axes(poses) if focus is None else np.array(focus, dtype=np.float64)
        length = radius_from_cameras(poses, point) if radius is None else float(radius)
        if point.shape != (3,) or not np.isfinite(point).all() or not 0 < length < math.inf:
            raise ValueError
    except UserError as error:
        problems.append(str(error))
    except (TypeError, ValueError):
        problems.append(
            f"{origin} has focus = {focus!r} and radius = {radius!r}, expected a point of three finite "
            "numbers and a length above 0: correct them or set scene.focus and scene.radius."
        )
    else:
        return point.tolist(), length
    return [0.0, 0.0, 0.0], 1.0
