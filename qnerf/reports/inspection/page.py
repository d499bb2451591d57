"""The page of `qnerf inspect`: a capture with its cameras, its proxy over every view, and a verdict on each
part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from qnerf.common.files import write_text
from qnerf.errors import UserError
from qnerf.reports.html import render
from qnerf.reports.inspection.checks import Check, Visible, checks_of, photograph_share
from qnerf.reports.inspection.drawing import drawn_view, jpeg, space
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.visibility import visible_share


@dataclass(frozen=True)
class Inspection:
    """A scene, and what is to be said of it. drawn: an address of a picture for each view."""

    scene: Scene
    checks: list[Check]
    drawn: list[str]

    def write(self, path: Path) -> None:
        """The page, which needs nothing but itself."""
        views = zip(self.scene.view_names, self.drawn, strict=True)
        title = f"{self.scene.name}: what an edit would begin with"
        write_text(path, render("inspection.html", title=title, checks=self.checks, lines=space(self.scene), views=list(views)))


def inspect(settings: SceneSettings) -> Inspection:
    """Read a scene as a run would, and look at it. Raises UserError where it cannot be read."""
    scene, notes = read_with_notes(settings)
    if not scene.posed:
        raise UserError(f"{settings.path} has images without cameras, expected a capture: there is nothing in space to look at.")
    photographs = scene.photographs or (None,) * len(scene.view_names)
    drawn, cameras, sizes, lenses = [], [], [], []
    for index, photograph in enumerate(photographs):
        image, camera, window = _whole(scene, index, photograph)
        sizes.append((image.shape[1], image.shape[0]))
        lenses.append(_lens(photograph))
        cameras.append(camera)
        drawn.append(jpeg(drawn_view(image, camera, scene.proxy, window)))
    visible = Visible(visible_share(scene.proxy, scene.cameras), photograph_share(scene, cameras)) if scene.proxy else None
    said = [note for note in notes if "of what the edit moves" not in note]  # a check of its own names these views
    return Inspection(scene, checks_of(scene, lenses, sizes, said, visible), drawn)


def _whole(scene: Scene, index: int, photograph: Photograph | None) -> tuple[np.ndarray, Cameras, tuple[int, int, int, int]]:
    """A view's photograph (H, W, 3), its camera, and the window of it that the view shows."""
    if photograph is None:
        image = (scene.images[index].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        return image, scene.cameras[[index]], (0, 0, image.shape[1], image.shape[0])
    view = photograph.read()
    focal, centre = (torch.from_numpy(values).float()[None] for values in (view.focal, view.centre))
    pose = scene.cameras.camera_to_world[[index]]
    return view.image, Cameras(pose, focal, centre, photograph.width, photograph.height), photograph.window


def _lens(photograph: Photograph | None) -> str:
    if photograph is None:
        return "pinhole"
    numbers = photograph.frame.numbers
    if photograph.frame.fisheye:
        return "fisheye, undistorted"
    return "OpenCV's, undistorted" if any(numbers.get(key) for key in ("k1", "k2", "k3", "k4", "p1", "p2")) else "pinhole"
