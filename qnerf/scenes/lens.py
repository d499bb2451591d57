"""Lenses: what a frame's numbers say of one, whether that can be, and images without its distortion.

Models: OpenCV's with up to six radial and two tangential coefficients (k1 … k6, p1, p2; `FULL_OPENCV`), and
OpenCV's fisheye, θ_d = θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸), whose image lies at the distance f θ_d from the
principal point (Kannala and Brandt 2006). Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np

LEAST_FOCAL, MOST_FOCAL = 0.04, 1000.0  # of the image's side: 170 and 0.06 degrees across
WIDEST = math.radians(60)  # half the angle that is kept of a fisheye's: a pinhole's image grows without bound
FOLDED = 1.0  # pixels by which the lens may miss a point of the image's rim when it is undistorted and distorted again
SQUARE = 1.2  # by which factor focal lengths may differ before it is said
OFF_CENTRE = 0.2  # of the image's side, from its middle
_ON_A_SIDE = 33
_ITERATIONS = 100
_BESIDE = math.radians(85)  # from the axis: farther off, a ray meets the plane too far away to be of use
_ADVICE = "refine the intrinsics, or undistort the images first"


def focal_of(numbers: Mapping[str, float], width: float, height: float) -> tuple[float, float]:
    """The focal lengths (x, y), pixels of an image of width x height, from `fl_x`, `camera_angle_x` and their
    like for y; the other axis has the same where only one is known. Raises KeyError where neither is."""
    x = _length(numbers, "fl_x", "camera_angle_x", width)
    # An angle beside a focal length is rounded, and often of another crop.
    y = numbers.get("fl_y") if "fl_x" in numbers else _length(numbers, "fl_y", "camera_angle_y", height)
    known = y if x is None else x
    if known is None:
        raise KeyError("fl_x")
    return known, known if y is None else y


def _length(numbers: Mapping[str, float], length: str, angle: str, side: float) -> float | None:
    if length in numbers:
        return numbers[length]
    return 0.5 * side / np.tan(0.5 * numbers[angle]) if angle in numbers else None


def centre_of(numbers: Mapping[str, float], width: float, height: float) -> tuple[float, float]:
    """The principal point (x, y), pixels of an image of width x height; its middle where it is not said."""
    return numbers.get("cx", width / 2), numbers.get("cy", height / 2)


def intrinsics_problem(focal: tuple[float, float], centre: tuple[float, float], size: tuple[int, int]) -> str | None:
    """Why no camera has these intrinsics, in words; None where one may. size: width, height, pixels."""
    for axis, length, middle, side in zip("xy", focal, centre, size, strict=True):
        if length < LEAST_FOCAL * side:
            advice = f"if it is a share of the size, multiply it by {side}" if length < 8 else "correct it"
            return f"fl_{axis} = {length:.4g} for an image of {side} pixels, expected at least {LEAST_FOCAL * side:.3g}: {advice}"
        if not length <= MOST_FOCAL * side:
            return f"fl_{axis} = {length:.4g} for an image of {side} pixels, expected at most {MOST_FOCAL * side:.3g}: correct it"
        if 0 < middle <= 1 and side > 8:
            return f"c{axis} = {middle:.4g} for an image of {side} pixels, expected pixels: if it is a share, multiply it by {side}"
        if not -side <= middle <= 2 * side:
            return f"c{axis} = {middle:.4g} for an image of {side} pixels, expected a point near it: correct it"
    return None


def intrinsics_notes(focal: tuple[float, float], centre: tuple[float, float], size: tuple[int, int]) -> list[str]:
    """What is strange about intrinsics that a camera may have: phrases that go on from a photograph's
    name."""
    notes = []
    if not 1 / SQUARE < focal[0] / focal[1] < SQUARE:
        notes.append(f"has pixels that are not square (fl_x / fl_y = {focal[0] / focal[1]:.3g}), which is kept")
    away = [abs(middle / side - 0.5) for middle, side in zip(centre, size, strict=True)]
    if max(away) > OFF_CENTRE:
        place = f"({centre[0]:.4g}, {centre[1]:.4g})"
        notes.append(f"has its principal point {place} far from the middle of {size[0]} x {size[1]} pixels, which is kept")
    return notes


def folding_problem(focal: np.ndarray, centre: np.ndarray, distortion: np.ndarray, size: tuple[int, int]) -> str | None:
    """Why OpenCV's distortion is none on an image of this size (width, height): a pixel of its rim has no
    ray, or rays turn back on the way to it; None where neither is so."""
    rim = (rim_of(size) - centre) / focal
    with np.errstate(all="ignore"):
        rays = _straightened(rim, distortion)
        ways = rays * np.linspace(0.0, 1.0, _ON_A_SIDE)[:, None, None]
        ratio, shift = _radial_and_tangential(ways, distortion)
        lengths = np.linalg.norm(ways * ratio + shift, axis=-1)
        missed = np.abs(focal * (ways[-1] * ratio[-1] + shift[-1] - rim)).max()
    if missed <= FOLDED and (np.diff(lengths, axis=0) > -1e-9).all():
        return None
    values = ", ".join(f"{value:.3g}" for value in distortion)
    return f"its distortion ({values}) folds back inside the image, so that two rays meet one pixel: {_ADVICE}"


def straight_points(pixels: np.ndarray, focal: np.ndarray, centre: np.ndarray, distortion: np.ndarray, fisheye: bool) -> np.ndarray:
    """Where the rays through pixels (P, 2) of a distorted image meet the plane z = 1: (P, 2), NaN where the
    lens sees none, or a fisheye one beside or behind the camera."""
    bent = (pixels - centre) / focal
    if not fisheye:
        return _straightened(bent, distortion) if distortion.any() else bent
    table = np.linspace(0.0, _BESIDE, 4096)
    length = np.linalg.norm(bent, axis=1)
    theta = np.interp(length, fisheye_angle(table, distortion), table, right=np.nan)
    return bent * (np.tan(theta) / np.maximum(length, 1e-12))[:, None]


def _straightened(bent: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Undistorted points (..., 2) of the plane z = 1, by OpenCV's own fixed point with more steps."""
    rays = bent.copy()
    for _ in range(_ITERATIONS):
        ratio, shift = _radial_and_tangential(rays, distortion)
        rays = (bent - shift) / ratio
    return rays


def _radial_and_tangential(rays: np.ndarray, distortion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ratio (..., 1) and shift (..., 2) by which OpenCV moves rays (..., 2), points of the plane z = 1."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*distortion, 0.0, 0.0, 0.0)[:8]
    x, y = rays[..., 0], rays[..., 1]
    square = x * x + y * y
    ratio = (1 + square * (k1 + square * (k2 + square * k3))) / (1 + square * (k4 + square * (k5 + square * k6)))
    shift = (2 * p1 * x * y + p2 * (square + 2 * x * x), p1 * (square + 2 * y * y) + 2 * p2 * x * y)
    return ratio[..., None], np.stack(shift, axis=-1)


def rim_of(size: tuple[int, int]) -> np.ndarray:
    """Points (P, 2) all along the rim of an image, pixels."""
    width, height = size
    share = np.linspace(0.0, 1.0, _ON_A_SIDE)
    across, along = share * width, share * height
    sides = [(across, 0 * across), (across, 0 * across + height), (0 * along, along), (0 * along + width, along)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


def fisheye_angle(theta: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """θ_d of rays at the angle θ from the axis."""
    square = theta * theta
    return theta * (
        1 + square * (coefficients[0] + square * (coefficients[1] + square * (coefficients[2] + square * coefficients[3])))
    )


def undistort_fisheye(
    image: np.ndarray, focal: np.ndarray, centre: np.ndarray, coefficients: np.ndarray, nearest: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pinhole image of the same size that shows only what the lens saw, at most `WIDEST` off the axis,
    with its focal lengths and its principal point. Raises ValueError, with the reason, where the coefficients
    fold the image.

    nearest: take the nearest pixel, not a mean of four. The pinhole's frame is the largest upright rectangle
    round the axis whose rays all lie inside the image.
    """
    height, width = image.shape[:2]
    table = np.linspace(0.0, WIDEST, 2048)
    with np.errstate(all="ignore"):
        bent = fisheye_angle(table, coefficients)
    rim = (rim_of((width, height)) - centre) / focal
    radius = np.maximum(np.linalg.norm(rim, axis=1), 1e-12)
    rising = np.flatnonzero(~(np.diff(bent) > 0))
    if len(rising) and not bent[rising[0]] > radius.max():
        raise ValueError(f"its fisheye coefficients fold back inside the image: {_ADVICE}")
    usable = slice(0, rising[0] + 1 if len(rising) else len(table))
    theta = np.interp(radius, bent[usable], table[usable])  # clipped at the widest angle
    plane = rim / radius[:, None] * np.tan(theta)[:, None]
    top, bottom, left, right = (plane[index * _ON_A_SIDE : (index + 1) * _ON_A_SIDE] for index in range(4))
    x0, x1, y0, y1 = left[:, 0].max(), right[:, 0].min(), top[:, 1].max(), bottom[:, 1].min()
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"its principal point lies outside of what the fisheye lens shows: {_ADVICE}")
    straight = np.array([width / (x1 - x0), height / (y1 - y0)])
    middle = np.array([-x0, -y0]) * straight
    x, y = np.meshgrid((np.arange(width) + 0.5 - middle[0]) / straight[0], (np.arange(height) + 0.5 - middle[1]) / straight[1])
    away = np.maximum(np.hypot(x, y), 1e-12)
    scale = fisheye_angle(np.arctan(away), coefficients) / away
    column, row = ((focal[axis] * scale * part + centre[axis] - 0.5).astype(np.float32) for axis, part in enumerate((x, y)))
    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return cv2.remap(image, column, row, mode, borderMode=cv2.BORDER_REPLICATE), straight, middle
