"""The figure as OpenPose ControlNets know it: 18 joints, 17 limbs, in the colours, widths and order of controlnet_aux's drawing.

Keypoints that the head or the torso hides from a camera are left out, and so are those outside the picture: a detector would not
have found them, and a nose that is drawn on a back makes it a front.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.openpose_joints import FACE, JOINTS, head_joint, missing_sentence, openpose_joints
from qnerf.scenes.scene import Proxy, State
from qnerf.scenes.solids import Capsule

LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
COLOURS = np.array([
    [255, 0, 0], [255, 85, 0], [255, 170, 0], [255, 255, 0], [170, 255, 0], [85, 255, 0], [0, 255, 0], [0, 255, 85],
    [0, 255, 170], [0, 255, 255], [0, 170, 255], [0, 85, 255], [0, 0, 255], [85, 0, 255], [170, 0, 255], [255, 0, 255],
    [255, 0, 170], [255, 0, 85],
], dtype=np.uint8)  # fmt: skip
"""RGB of the joints; the first 17 of the limbs too, at 60 %."""

_WIDTH, _AT = 4, 512  # half the width of a limb and radius of a joint, pixels, in an image of so many
_NECK, _SHOULDERS, _HIPS = 1, (2, 5), (8, 11)
_HIDDEN_BY_TORSO = (3, 4, 6, 7, 9, 10, 12, 13)  # elbows, wrists, knees, ankles: the others lie on it
_HEAD, _TORSO = 0.45, 0.3  # radii, as shares of the distance from neck to head, and of that between the shoulders
_SOLID = 0.95  # of the head's radius: keypoints of the face lie outside of what hides them
_NEAR = 1e-3  # world units in front of the camera


def draw_openpose(proxy: Proxy, state: State, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """A skeleton in every camera: (N, 3, H, W) float32 in [0, 1] on black. size: (height, width).

    Raises UserError for a box, and for a skeleton without one of the body's joints.
    """
    if problem := missing_sentence("control.detail is openpose, but the proxy", proxy.kind, proxy.joints):
        raise UserError(problem)
    height, width = size
    points, there = keypoints(proxy, state)
    pixels, z_depth = cameras.resized(width, height).project(torch.from_numpy(points).float())
    seen = there & visible(points, there, cameras.positions.cpu().double().numpy())
    seen &= z_depth.cpu().numpy() > _NEAR
    drawn = [draw_pose(xy, shown, size) for xy, shown in zip(pixels.cpu().double().numpy(), seen, strict=True)]
    return torch.from_numpy(np.stack(drawn).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def keypoints(proxy: Proxy, state: State) -> tuple[np.ndarray, np.ndarray]:
    """OpenPose's joints in the world (18, 3) float64, and which of them the skeleton has (18,).

    A skeleton with a head and no face is given one: nose, eyes and ears on a ball round the head, looking where shoulders and
    neck say (ours).
    """
    own = (proxy.source if state == "source" else proxy.target).detach().cpu().double().numpy()
    mapped, head = openpose_joints(proxy.joints), head_joint(proxy.joints)
    points, there = np.zeros((len(JOINTS), 3)), np.zeros(len(JOINTS), dtype=bool)
    for joint, sources in mapped.items():
        points[joint], there[joint] = own[list(sources)].mean(axis=0), True
    if head is not None and not there[list(FACE)].any():
        centre = own[head]
        radius = _HEAD * np.linalg.norm(centre - points[_NECK])
        up, left = _unit(centre - points[_NECK]), _unit(points[5] - points[2])
        left = _unit(left - (left @ up) * up)
        front = np.cross(left, up)
        eye = np.sqrt(1 - 2 * 0.35**2)
        directions = [front, eye * front + 0.35 * (up - left), eye * front + 0.35 * (up + left), -left, left]
        points[list(FACE)], there[list(FACE)] = centre + radius * np.array(directions), True
    return points, there


def visible(points: np.ndarray, there: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Which keypoints (18, 3) neither the head nor the torso hides from cameras at (N, 3): (N, 18)."""
    seen = np.ones((len(cameras), len(points)), dtype=bool)
    solids = [(ball, FACE) for ball in _head(points, there)] + [(_torso(points), _HIDDEN_BY_TORSO)]
    for view, origin in enumerate(cameras):
        towards = points - origin
        distance = np.linalg.norm(towards, axis=1)
        directions = (towards / np.maximum(distance, 1e-9)[:, None]).astype(np.float32)
        for solid, joints in solids:
            rows = list(joints)
            seen[view, rows] &= solid.intersect(origin, directions[rows]) > distance[rows] - 1e-3 * solid.radius
    return seen


def draw_pose(pixels: np.ndarray, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Keypoints (18, 2) at (x, y) of an image, those that are seen (18,) and within it: (H, W, 3) uint8 RGB.

    As controlnet_aux draws them: limbs are filled ellipses of whole pixels and degrees, and joints discs over them.
    """
    height, width = size
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    reach = max(1, round(_WIDTH * min(size) / _AT))
    shown = seen & (pixels >= 0).all(axis=1) & (pixels < [width, height]).all(axis=1)
    for limb, (a, b) in enumerate(LIMBS):
        if shown[a] and shown[b]:
            (x, y), along = (pixels[a] + pixels[b]) / 2, pixels[a] - pixels[b]
            angle, half = int(math.degrees(math.atan2(along[1], along[0]))), int(np.linalg.norm(along) / 2)
            polygon = cv2.ellipse2Poly((int(x), int(y)), (half, reach), angle, 0, 360, 1)
            cv2.fillConvexPoly(canvas, np.array(polygon), [int(channel * 0.6) for channel in COLOURS[limb]])
    for joint in np.flatnonzero(shown):
        x, y = pixels[joint]
        cv2.circle(canvas, (int(x), int(y)), reach, COLOURS[joint].tolist(), cv2.FILLED)
    return canvas


def _head(points: np.ndarray, there: np.ndarray) -> list[Capsule]:
    """The ball of the head: between the ears, else behind the nose; none without a face."""
    if there[16] and there[17]:
        centre, radius = (points[16] + points[17]) / 2, np.linalg.norm(points[16] - points[17]) / 2
    elif there[0]:
        radius = _HEAD * np.linalg.norm(points[0] - points[_NECK])
        left, up = _unit(points[5] - points[2]), _unit(points[0] - points[_NECK])
        centre = points[0] - radius * _unit(np.cross(left, up))
    else:
        return []
    return [Capsule(centre, centre, max(_SOLID * float(radius), 1e-6), "head")]


def _torso(points: np.ndarray) -> Capsule:
    """From below the neck to between the hips."""
    right, left = (points[joint] for joint in _SHOULDERS)
    radius = max(_TORSO * float(np.linalg.norm(left - right)), 1e-6)
    hips = points[list(_HIPS)].mean(axis=0)
    down = _unit(hips - points[_NECK])
    return Capsule(points[_NECK] + radius * down, hips, radius, "torso")


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
