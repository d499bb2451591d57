"""The spatial control: a 3-D proxy projected into every view and drawn, in grades of looseness (docs/method.md §6).

`bones` pins the pose down; `joints` leaves the limbs' drawing out; `ends` leaves the elbows and knees open, so that
views can disagree; `loose_depth` gives a depth that the object stays behind, and `box` only the edges of one box round it.
Lines and dots are cv2's, since training draws tens of thousands.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES, bounding_box, proxy_bounds
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.loose_depth import draw_loose_depth
from qnerf.scenes.scene import Proxy, State
from qnerf.scenes.settings import Detail

DETAILS: tuple[str, ...] = get_args(Detail)
LINE_DETAILS = tuple(detail for detail in DETAILS if detail != "loose_depth")
END_NAMES = ("head", "hand", "foot", "tail", "top")

BOX_AXIS_COLOURS = np.array([[255, 64, 64], [64, 255, 64], [64, 96, 255]], dtype=np.uint8)

_LIMB_WIDTH = 0.030  # of the image's shorter side: 4 pixels of 128, OpenPose's 4 of 128 likewise
_EDGE_WIDTH = 0.016
_DOT_RADIUS = 0.020
_END_RADIUS = 0.030
_NEAR = 1e-3  # world units in front of the camera: anything nearer is skipped
_SHIFT = 4  # cv2's fixed-point fraction bits: 1/16 pixel
_FAR_OFF = 16_000.0  # pixels: keeps fixed-point coordinates of points near the image plane inside cv2's range


@dataclass(frozen=True)
class ControlColours:
    """Colours of a proxy's lines (B, 3) and joints (J, 3), uint8 RGB."""

    limbs: np.ndarray
    joints: np.ndarray


@lru_cache(maxsize=64)
def skeleton_colours(joint_count: int, bone_count: int) -> ControlColours:
    """Hues spread evenly over the joints and over the bones, as in OpenPose: left and right each have their own."""
    return ControlColours(_hues(bone_count, value=0.75), _hues(joint_count, value=1.0))


def box_colours() -> ControlColours:
    """One colour per direction of the twelve `BOX_EDGES`; corners carry no dots."""
    return ControlColours(np.repeat(BOX_AXIS_COLOURS, 4, axis=0), np.zeros((8, 3), dtype=np.uint8))


def end_joints(names: Sequence[str], ends: Sequence[str] = END_NAMES) -> tuple[int, ...]:
    """The indices of the joints whose names start with one of `ends`."""
    return tuple(index for index, name in enumerate(names) if name.startswith(tuple(ends)))


def draw_control(
    points: Tensor,
    bones: Sequence[tuple[int, int]],
    cameras: Cameras,
    detail: str,
    size: tuple[int, int],
    ends: Sequence[int] = (),
) -> Tensor:
    """Draw a proxy's points (J, 3) into every camera: (N, 3, H, W) float32 in [0, 1] on black.

    bones: pairs of point indices. size: (height, width) of the drawing; the cameras are scaled to it. ends: the joints
    that `detail="ends"` shows (`end_joints`). `detail="box"` draws the eight corners of a box as they are, and the
    axis-aligned bounding box of any other set of points. Points behind a camera are skipped, with the lines that touch
    them.
    """
    if detail not in LINE_DETAILS:
        raise UserError(f"control.detail is {detail!r}, expected one of {', '.join(LINE_DETAILS)}.")
    if detail == "ends" and len(ends) == 0:
        raise UserError(
            "control.detail is 'ends', but no joint of the proxy is named head*, hand*, foot*, tail* or "
            "top*: give joints such names in proxy.json, or choose another control.detail."
        )
    if detail == "box":
        points = points if len(points) == 8 and tuple(bones) == BOX_EDGES else bounding_box(points)
        bones, colours = BOX_EDGES, box_colours()
    else:
        colours = skeleton_colours(len(points), len(bones))
    height, width = size
    pixels, z_depth = cameras.resized(width, height).project(points)
    drawn = [
        draw_control_image(xy, z, bones, colours, detail, size, ends)
        for xy, z in zip(pixels.cpu().double().numpy(), z_depth.cpu().double().numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(drawn)).to(points.device)


def draw_proxy_control(proxy: Proxy, state: State, cameras: Cameras, detail: str, size: tuple[int, int]) -> Tensor:
    """The control of a proxy's state in every camera: (N, 3, H, W) float32 in [0, 1].

    detail and size as in `draw_control`, and `detail="loose_depth"` besides (see `loose_depth`). A box proxy has edges or
    a depth to show, so that its every other grade is `box`.
    """
    if detail == "loose_depth":
        return draw_loose_depth(proxy, state, cameras, size)
    if detail == "box" or proxy.kind == "box":
        return draw_control(proxy_bounds(proxy, state).corners, BOX_EDGES, cameras, "box", size)
    points = proxy.source if state == "source" else proxy.target
    return draw_control(points, proxy.bones, cameras, detail, size, end_joints(proxy.joints))


def draw_control_image(
    pixels: np.ndarray,
    z_depth: np.ndarray,
    bones: Sequence[tuple[int, int]],
    colours: ControlColours,
    detail: str,
    size: tuple[int, int],
    ends: Sequence[int] = (),
) -> np.ndarray:
    """One view of the control, the fast core of `draw_control`: (3, H, W) float32 in [0, 1].

    pixels: (J, 2) image positions (x, y), pixel centres at +0.5. z_depth: (J,) along the optical axis. Lines are drawn
    far to near, then dots far to near, so that joints are never hidden by their own limbs.
    """
    height, width = size
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    visible = (z_depth > _NEAR) & np.isfinite(pixels).all(axis=-1)
    safe = np.where(visible[:, None], pixels, 0.0).clip(-_FAR_OFF, _FAR_OFF)
    fixed = np.rint((safe - 0.5) * (1 << _SHIFT)).astype(int).tolist()
    if detail in ("bones", "box"):
        stroke = _LIMB_WIDTH if detail == "bones" else _EDGE_WIDTH
        _draw_lines(canvas, fixed, z_depth, visible, bones, colours.limbs, stroke)
    if detail != "box":
        shown = ends if detail == "ends" else range(len(pixels))
        radius = _END_RADIUS if detail == "ends" else _DOT_RADIUS
        _draw_dots(canvas, fixed, z_depth, [joint for joint in shown if visible[joint]], colours.joints, radius)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)).astype(np.float32) * np.float32(1 / 255)


def _draw_lines(
    canvas: np.ndarray,
    fixed: list[list[int]],
    z_depth: np.ndarray,
    visible: np.ndarray,
    bones: Sequence[tuple[int, int]],
    colours: np.ndarray,
    stroke: float,
) -> None:
    thickness = max(1, round(stroke * min(canvas.shape[:2])))
    shown = [index for index, (a, b) in enumerate(bones) if visible[a] and visible[b]]
    for index in sorted(shown, key=lambda index: -(z_depth[bones[index][0]] + z_depth[bones[index][1]])):
        start, stop = bones[index]
        cv2.line(canvas, fixed[start], fixed[stop], colours[index].tolist(), thickness, cv2.LINE_AA, _SHIFT)


def _draw_dots(
    canvas: np.ndarray,
    fixed: list[list[int]],
    z_depth: np.ndarray,
    shown: list[int],
    colours: np.ndarray,
    radius: float,
) -> None:
    length = round(max(1.0, radius * min(canvas.shape[:2])) * (1 << _SHIFT))
    for joint in sorted(shown, key=lambda joint: -z_depth[joint]):
        cv2.circle(canvas, fixed[joint], length, colours[joint].tolist(), cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _hues(count: int, value: float) -> np.ndarray:
    rgb = [colorsys.hsv_to_rgb(index / count, 1.0, value) for index in range(count)]
    return np.rint(np.array(rgb).reshape(count, 3) * 255).astype(np.uint8)
