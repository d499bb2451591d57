"""Pictures of an inspection: the proxy over every photograph, and what there is in space."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import torch

from qnerf.common.files import Pixels
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy, Scene

BEFORE, AFTER, CROP, LEFT_OUT = (31, 119, 255), (255, 127, 14), (255, 255, 255), (220, 0, 0)  # RGB
SIDE = 320  # pixels of a thumbnail's longer side
QUALITY = 80
_FINER = 4  # bits below a pixel
_ALONG = 16  # pieces of a bone: what lies behind a camera is not drawn, and the rest of the bone is


def drawn_view(image: Pixels, camera: Cameras, proxy: Proxy | None, window: tuple[int, int, int, int]) -> Pixels:
    """A thumbnail (h, w, 3) of a photograph with the proxy before and after the edit, and the window (left,
    top, width, height) that the view shows of it."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    small = np.ascontiguousarray(small, dtype=np.uint8)
    left, top, across, down = window
    if (across, down) != (width, height):
        corners = [(round(left * scale), round(top * scale)), (round((left + across) * scale) - 1, round((top + down) * scale) - 1)]
        cv2.rectangle(small, corners[0], corners[1], CROP, 1)
    for points, colour in ((proxy.source, BEFORE), (proxy.target, AFTER)) if proxy else ():
        for a, b in proxy.bones if proxy else ():
            share = torch.linspace(0, 1, _ALONG + 1)[:, None]
            pixels, depth = camera.project(torch.lerp(points[a], points[b], share))
            ends = (pixels[0].double().numpy() * scale - 0.5) * 2**_FINER
            for index in np.flatnonzero(((depth[0, :-1] > 0) & (depth[0, 1:] > 0)).numpy() & (np.abs(ends[:-1]) < 1e6).all(axis=1)):
                begin, end = (np.clip(ends[index + step], -1e6, 1e6).astype(int).tolist() for step in (0, 1))
                cv2.line(small, begin, end, colour, 2, cv2.LINE_AA, _FINER)
    return small


def drawn_mask(image: Pixels, valid: np.ndarray) -> Pixels:
    """A view (H, W, 3) with what does not count, ~valid (H, W), in red."""
    drawn = image.copy()
    drawn[~valid] = (0.4 * drawn[~valid] + 0.6 * np.array(LEFT_OUT)).astype(np.uint8)
    return drawn


def drawn_depth(depth: np.ndarray, near: float, far: float) -> Pixels:
    """Depth (H, W), infinite where it is not known, as colours: red at `near`, blue at `far`, even in disparity."""
    known = np.isfinite(depth) & (depth > 0)
    disparity = 1 / np.where(known, depth, far)
    level = (disparity - 1 / far) / max(1 / near - 1 / far, 1e-12)
    colours = cv2.applyColorMap((level.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    return np.where(known[..., None], colours, 0).astype(np.uint8)


def jpeg(pixels: Pixels) -> str:
    """(H, W, 3) bytes as the address of a JPEG inside the page."""
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


def space(scene: Scene) -> list[dict[str, Any]]:
    """Lines in space, about the focus and in radii: {"c": colour, "p": [[x, y, z], …], "n": name or ""}."""

    def line(colour: str, points: np.ndarray, name: str = "") -> dict[str, Any]:
        placed = (points - scene.focus.cpu().numpy()) / scene.radius
        return {"c": colour, "p": placed.round(4).tolist(), "n": name}

    focus, poses = scene.focus.double().cpu().numpy(), scene.cameras.camera_to_world.double().cpu().numpy()
    turn = np.linspace(0, 2 * np.pi, 49)
    circle = np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1) * scene.radius
    lines = [line("#bbb", focus + circle[:, order]) for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0])]
    for axis, colour in enumerate(("#d33", "#3a3", "#33d")):
        lines.append(line(colour, focus + np.outer([0.0, 0.5 * scene.radius], np.eye(3)[axis]), "xyz"[axis]))
    tall = 0.12 * float(np.median(np.linalg.norm(poses[:, :3, 3] - focus, axis=1)))
    for name, pose, focal in zip(scene.view_names, poses, scene.cameras.focal.tolist(), strict=True):
        x, y = (tall * side / 2 / length for side, length in zip((scene.cameras.width, scene.cameras.height), focal, strict=True))
        rim = (
            np.array([[-x, y, -tall], [x, y, -tall], [x, -y, -tall], [-x, -y, -tall], [-x, y, -tall]]) @ pose[:3, :3].T
            + pose[:3, 3]
        )
        eye = pose[:3, 3]
        lines.append(line("#555", np.stack([*rim, eye, rim[1], rim[2], eye, rim[3]]), name))
    if scene.proxy is not None:
        for points, colour in ((scene.proxy.source, BEFORE), (scene.proxy.target, AFTER)):
            ends = points.double().numpy()
            lines += [line("rgb({}, {}, {})".format(*colour), ends[list(bone)]) for bone in scene.proxy.bones]
    return lines
