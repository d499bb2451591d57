"""A smooth way of new cameras round a scene, and the film of it: before the edit beside after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from qnerf.common.files import Pixels
from qnerf.reports.images import to_pixels
from qnerf.reports.surfaces.model import Models
from qnerf.reports.video import write_mp4
from qnerf.scenes.cameras import Cameras

FRAMES_PER_SECOND = 20
WHOLE_CIRCLE = np.radians(300)  # from which part of a circle on the film goes round, and else there and back
SMOOTH = np.radians(25)  # standard deviation of the mean over the cameras nearby in direction


def orbit(cameras: Cameras, focus: torch.Tensor, count: int) -> Cameras:
    """`count` cameras on a closed way that look at the focus (3,), at distances and heights that follow the given cameras'.

    About the mean of the cameras' upward axes, they go round where the cameras surround the focus, else from end to end and back.
    """
    poses, middle = cameras.camera_to_world.double().cpu().numpy(), focus.double().cpu().numpy()
    frame = upright(poses)
    away = (poses[:, :3, 3] - middle) @ frame.T
    azimuth, height, flat = np.arctan2(away[:, 1], away[:, 0]), away[:, 2], np.hypot(away[:, 0], away[:, 1])
    order = np.argsort(azimuth)
    gaps = np.diff(np.append(azimuth[order], azimuth[order[0]] + 2 * np.pi))
    widest = int(gaps.argmax())
    start, spread = azimuth[order[(widest + 1) % len(order)]], 2 * np.pi - gaps[widest]
    time = np.arange(count) / count
    if spread + gaps[widest] / 2 >= WHOLE_CIRCLE:
        angles = start + 2 * np.pi * time
    else:
        angles = start + spread * (0.5 - 0.5 * np.cos(2 * np.pi * time))
    apart = np.angle(np.exp(1j * (angles[:, None] - azimuth)))
    share = np.exp(-0.5 * (apart / SMOOTH) ** 2) + 1e-9
    share /= share.sum(axis=1, keepdims=True)
    around, up = share @ flat, share @ height
    places = np.stack([around * np.cos(angles), around * np.sin(angles), up], axis=1) @ frame + middle
    matrices = torch.from_numpy(np.stack([looking(place, middle, frame[2]) for place in places])).float()
    focal = cameras.focal.median(dim=0).values.expand(count, 2)
    centre = focal.new_tensor([cameras.width / 2, cameras.height / 2]).expand(count, 2)
    return Cameras(matrices.to(focal), focal, centre, cameras.width, cameras.height)


def upright(poses: np.ndarray) -> np.ndarray:
    """Axes (3, 3), by rows, of which the third is the mean of the upward axes of poses (N, 4, 4)."""
    up = poses[:, :3, 1].mean(axis=0)
    up = up / np.linalg.norm(up) if np.linalg.norm(up) > 1e-6 else np.array([0.0, 0.0, 1.0])
    first = np.eye(3)[np.abs(up).argmin()]
    across = np.cross(up, first)
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])


def looking(place: np.ndarray, at: np.ndarray, up: np.ndarray) -> np.ndarray:
    """The pose (4, 4) of a camera at a place that looks at a point, OpenGL's axes."""
    back = place - at
    back /= np.linalg.norm(back)
    right = np.cross(up, back)
    right /= max(np.linalg.norm(right), 1e-9)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(back, right), back, place], axis=1)
    return pose


def write_film(path: Path, models: Models, count: int) -> bool:
    """An H.264 mp4 of the orbit, before the edit on the left. Without ffmpeg it writes none, says so, and returns False."""
    cameras = orbit(models.scene.cameras, models.scene.focus, count)
    states = [model for model in (models.before, models.after) if model is not None]

    def frames() -> Iterator[Pixels]:
        for index in range(count):
            shown = [to_pixels(model.field.render(cameras[[index]])[0][0]) for model in states]
            yield _even(np.concatenate(shown, axis=1))

    return write_mp4(path, frames(), FRAMES_PER_SECOND)


def _even(pixels: Pixels) -> Pixels:
    return pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
