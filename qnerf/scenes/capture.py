"""From the images of a capture to undistorted views of the backbone's size, with intrinsics that follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.readers.reader import Frame

RADIUS_FRACTION = 0.5  # of the median distance from the cameras to the focus
_PARALLEL = 1e-4  # smallest eigenvalue of the mean of (I - d d^T) below which optical axes count as parallel


@dataclass(frozen=True)
class View:
    """image: (H, W, 3) uint8. focal, centre: (2,) pixels (x, y), pixel centres at +0.5. distortion: k1 k2 p1 p2 k3."""

    image: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    distortion: np.ndarray


def make_view(frame: Frame, image: np.ndarray) -> View:
    """Join a frame's intrinsics with its image. Raises UserError where the image is not of the size they belong to."""
    height, width = image.shape[:2]
    numbers = frame.numbers
    named = (round(numbers["w"]) if "w" in numbers else width, round(numbers["h"]) if "h" in numbers else height)
    if named != (width, height):
        raise UserError(
            f"{frame.image} is {width} x {height} pixels, but transforms.json says w x h = {named[0]} x "
            f"{named[1]}: let file_path name the images that the intrinsics belong to, or scale the "
            "intrinsics."
        )
    fl_x = numbers.get("fl_x") or 0.5 * width / np.tan(0.5 * numbers["camera_angle_x"])
    angle_y = numbers.get("camera_angle_y") if "fl_x" not in numbers else None
    fl_y = numbers.get("fl_y") or (0.5 * height / np.tan(0.5 * angle_y) if angle_y else fl_x)
    centre = np.array([numbers.get("cx", width / 2), numbers.get("cy", height / 2)])
    distortion = np.array([numbers.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3")])
    return View(image, np.array([fl_x, fl_y]), centre, distortion)


def undistort(view: View) -> View:
    """Remove the lens distortion (OpenCV's model), keeping only pixels that the lens saw; the intrinsics follow."""
    if not view.distortion.any():
        return view
    height, width = view.image.shape[:2]
    matrix = np.diag([*view.focal, 1.0])
    matrix[:2, 2] = view.centre - 0.5  # OpenCV puts the centre of the first pixel at 0
    straight, _ = cv2.getOptimalNewCameraMatrix(matrix, view.distortion, (width, height), 0)
    image = cv2.undistort(view.image, matrix, view.distortion, None, straight)
    focal = np.array([straight[0, 0], straight[1, 1]])
    return View(image, focal, straight[:2, 2] + 0.5, np.zeros(5))


def crop_to(view: View, size: tuple[int, int]) -> View:
    """The largest centre piece of an image with the proportions of size (width, height); the principal point moves with the
    corner."""
    left, top, width, height = centre_piece(view.image.shape[1], view.image.shape[0], size)
    image = view.image[top : top + height, left : left + width]
    return View(image, view.focal, view.centre - np.array([left, top]), view.distortion)


def centre_piece(width: int, height: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Of an image of width x height pixels, the largest centre piece with the proportions of size (width, height), to the pixel:
    left, top, width, height."""
    across, down = size
    wide = min(width, max(1, round(height * across / down)))
    tall = min(height, max(1, round(width * down / across)))
    return (width - wide) // 2, (height - tall) // 2, wide, tall


def resize(view: View, size: tuple[int, int]) -> View:
    """The image at size (width, height), pixels: area average when it shrinks, bicubic when it grows."""
    height, width = view.image.shape[:2]
    if (width, height) == size:
        return view
    mode = cv2.INTER_AREA if width > size[0] and height > size[1] else cv2.INTER_CUBIC
    scale = np.array([size[0] / width, size[1] / height])
    image = cv2.resize(view.image, size, interpolation=mode)
    return View(image, view.focal * scale, view.centre * scale, view.distortion)


def spread_evenly(count: int, wanted: int | None) -> list[int]:
    """Indices of `wanted` of `count` views, evenly spread without taking both ends of a closed orbit."""
    return list(range(count)) if wanted is None else [index * count // wanted for index in range(wanted)]


def nearest_point_to_axes(poses: np.ndarray) -> np.ndarray:
    """The point (3,) nearest to the optical axes of poses (N, 4, 4), in the least-squares sense.

    Solves sum_i (I - d_i d_i^T) x = sum_i (I - d_i d_i^T) o_i. Raises UserError where the axes are parallel or meet
    behind the cameras, so that they say nothing about the depth of the scene.
    """
    directions, origins = -poses[:, :3, 2], poses[:, :3, 3]
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    matrix = across.mean(axis=0)
    if np.linalg.eigvalsh(matrix)[0] > _PARALLEL:
        focus = np.linalg.solve(matrix, np.einsum("nij,nj->i", across, origins) / len(poses))
        if np.median(np.einsum("ni,ni->n", focus - origins, directions)) > 0:
            return focus
    raise UserError(
        "transforms.json: the optical axes of the cameras do not meet in front of them, so the point they "
        "look at is not known: set scene.focus and scene.radius."
    )


def radius_from_cameras(poses: np.ndarray, focus: np.ndarray) -> float:
    """Half (`RADIUS_FRACTION`) of the median distance of the cameras (N, 4, 4) from the focus (3,)."""
    return float(RADIUS_FRACTION * np.median(np.linalg.norm(poses[:, :3, 3] - focus, axis=-1)))
