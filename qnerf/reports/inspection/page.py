"""The page of `qnerf inspect`: a capture with its cameras, its proxy over every view, and a verdict on each
part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qnerf.common.files import write_text
from qnerf.errors import UserError
from qnerf.reports.html import render
from qnerf.reports.images import to_pixels
from qnerf.reports.inspection.checks import Check, Visible, checks_of, photograph_share
from qnerf.reports.inspection.drawing import drawn_depth, drawn_mask, drawn_view, jpeg, space
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.masks_and_depth import range_of_depth
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.visibility import visible_share


@dataclass(frozen=True)
class Inspection:
    """A scene, and what is to be said of it. lines: what there is in space. masks, depths: by view, addresses of pictures of what
    the capture says of its pixels; empty where it says nothing."""

    scene: Scene
    checks: list[Check]
    lines: list[dict[str, Any]]
    masks: list[tuple[str, str]]
    depths: list[tuple[str, str]]

    def write(self, path: Path) -> None:
        """The page, which needs nothing but itself, with the proxy over every photograph."""
        drawn = []
        for index, name in enumerate(self.scene.view_names):
            image, camera, window = whole_photograph(self.scene, index)
            drawn.append((name, jpeg(drawn_view(image, camera, self.scene.proxy, window))))
        title = f"{self.scene.name}: what an edit would begin with"
        shown = {"checks": self.checks, "lines": self.lines, "masks": self.masks, "depths": self.depths}
        write_text(path, render("inspection.html", title=title, views=drawn, **shown))


def inspect(settings: SceneSettings) -> Inspection:
    """Read a scene as a run would, and look at it. Raises UserError where it cannot be read."""
    scene, notes = read_with_notes(settings)
    if not scene.posed:
        raise UserError(f"{settings.path} has images without cameras, expected a capture: there is nothing in space to look at.")
    return look_at(scene, [note for note in notes if "of what the edit moves" not in note])  # a check of its own names these views


def look_at(scene: Scene, notes: Sequence[str] = ()) -> Inspection:
    """What is to be said of a scene with cameras, without reading its photographs. notes: what reading had to say."""
    scene = replace(scene, cameras=scene.cameras.to(torch.device("cpu")), focus=scene.focus.cpu())
    whole = [whole_camera(scene, index) for index in range(len(scene.view_names))]
    sizes = [(camera.width, camera.height) for camera, _ in whole]
    lenses = [_lens(photograph) for photograph in scene.photographs or (None,) * len(whole)]
    visible = None
    if scene.proxy is not None:
        cameras = [camera for camera, _ in whole]
        visible = Visible(visible_share(scene.proxy, scene.cameras), photograph_share(scene, cameras))
    return Inspection(scene, checks_of(scene, lenses, sizes, notes, visible), space(scene), _masks(scene), _depths(scene))


def whole_photograph(scene: Scene, index: int) -> tuple[np.ndarray, Cameras, tuple[int, int, int, int]]:
    """A view's photograph (H, W, 3), its camera, and the window of it (left, top, width, height) that the
    view shows."""
    camera, window = whole_camera(scene, index)
    return to_pixels(scene.images[index]) if scene.photographs is None else scene.photographs[index].read().image, camera, window


def whole_camera(scene: Scene, index: int) -> tuple[Cameras, tuple[int, int, int, int]]:
    """The camera of a view's whole photograph, and the window of it (left, top, width, height) that the view shows."""
    camera = scene.cameras[[index]]
    if scene.photographs is None:
        return camera, (0, 0, camera.width, camera.height)
    photograph = scene.photographs[index]
    left, top, width, height = photograph.window
    scale = camera.focal.new_tensor([width / camera.width, height / camera.height])
    centre = camera.centre * scale + camera.centre.new_tensor([left, top])
    whole = Cameras(camera.camera_to_world, camera.focal * scale, centre, photograph.width, photograph.height)
    return whole, photograph.window


def _masks(scene: Scene) -> list[tuple[str, str]]:
    if scene.valid is None:
        return []
    views = zip(scene.view_names, scene.images, scene.valid, strict=True)
    return [(name, jpeg(drawn_mask(to_pixels(image), valid.cpu().numpy()))) for name, image, valid in views]


def _depths(scene: Scene) -> list[tuple[str, str]]:
    if scene.depth is None or (ends := range_of_depth(scene.depth)) is None:
        return []
    views = zip(scene.view_names, scene.depth, strict=True)
    return [(name, jpeg(drawn_depth(depth.cpu().numpy(), *ends))) for name, depth in views]


def _lens(photograph: Photograph | None) -> str:
    if photograph is None:
        return "pinhole"
    numbers = photograph.frame.numbers
    if photograph.frame.fisheye:
        return "fisheye, undistorted"
    return "OpenCV's, undistorted" if any(numbers.get(key) for key in ("k1", "k2", "k3", "k4", "p1", "p2")) else "pinhole"
