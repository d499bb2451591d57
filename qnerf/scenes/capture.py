"""From the images of a capture to undistorted views of the backbone's size, with intrinsics that follow."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.images import image_size, is_scaled, read_image
from qnerf.scenes.lens import centre_of, focal_of, folding_problem, intrinsics_problem, undistort_fisheye
from qnerf.scenes.readers.reader import Frame

OPENCV = ("k1", "k2", "p1", "p2", "k3")  # the order of OpenCV's coefficients
FULL_OPENCV = (*OPENCV, "k4", "k5", "k6")
FISHEYE = ("k1", "k2", "k3", "k4")
RIM = 0.04  # of a piece, left round what it is to show


@dataclass(frozen=True)
class View:
    """image: (H, W, 3) uint8. focal, centre: (2,) pixels (x, y), pixel centres at +0.5. distortion: `OPENCV`,
    `FULL_OPENCV` or, of a fisheye, `FISHEYE`."""

    image: np.ndarray
    focal: np.ndarray
    centre: np.ndarray
    distortion: np.ndarray
    fisheye: bool = False


def named_size(frame: Frame) -> tuple[int, int] | None:
    """Width and height that a frame's intrinsics belong to, where they say so."""
    numbers = frame.numbers
    return (round(numbers["w"]), round(numbers["h"])) if numbers.keys() >= {"w", "h"} else None


def frame_size(frame: Frame) -> tuple[int, int] | None:
    """Width and height of a frame's image, None where it cannot be read."""
    return image_size(frame.image) if frame.pixels is None else (frame.pixels.shape[1], frame.pixels.shape[0])


def read_view(frame: Frame) -> View:
    """A frame's whole image without lens distortion. Raises UserError where it cannot be read or does not fit
    its intrinsics."""
    view = make_view(frame, read_image(frame.image, named_size(frame)) if frame.pixels is None else frame.pixels)
    try:
        return undistort(view)
    except UserError as error:
        raise UserError(f"{frame.image}: {error}.") from None


def make_view(frame: Frame, image: np.ndarray) -> View:
    """Join a frame's intrinsics with its image; where it is a copy in another scale, they are scaled. Raises
    UserError where the image is not of the size they belong to, or where no camera has them."""
    height, width = image.shape[:2]
    numbers = frame.numbers
    named = (round(numbers["w"]) if "w" in numbers else width, round(numbers["h"]) if "h" in numbers else height)
    if named != (width, height) and not is_scaled((width, height), named):
        raise UserError(
            f"{frame.image} is {width} x {height} pixels, but transforms.json says w x h = {named[0]} x "
            f"{named[1]}: let file_path name the images that the intrinsics belong to, or scale the "
            "intrinsics."
        )
    focal = focal_of(numbers, *named)
    centre = centre_of(numbers, *named)
    if problem := intrinsics_problem(focal, centre, named):
        raise UserError(f"{frame.image}: its camera has {problem}.")
    scale = np.array([width / named[0], height / named[1]])
    keys = FISHEYE if frame.fisheye else FULL_OPENCV if numbers.keys() & {"k4", "k5", "k6"} else OPENCV
    distortion = np.array([numbers.get(key, 0.0) for key in keys])
    return View(image, np.array(focal) * scale, np.array(centre) * scale, distortion, frame.fisheye)


def undistort(view: View, nearest: bool = False) -> View:
    """Remove the lens distortion (OpenCV's models), keeping only pixels that the lens saw; the intrinsics
    follow. nearest: take the nearest pixel of the photograph, not a mean of four. Raises UserError where the
    distortion is none that a lens has."""
    if view.fisheye:
        try:
            return View(*undistort_fisheye(view.image, view.focal, view.centre, view.distortion, nearest), np.zeros(5))
        except ValueError as error:
            raise UserError(str(error)) from None
    if not view.distortion.any():
        return view
    height, width = view.image.shape[:2]
    matrix = np.diag([*view.focal, 1.0])
    matrix[:2, 2] = view.centre - 0.5  # OpenCV puts the centre of the first pixel at 0
    if problem := folding_problem(view.focal, view.centre, view.distortion, (width, height)):
        raise UserError(problem)
    straight, _ = cv2.getOptimalNewCameraMatrix(matrix, view.distortion, (width, height), 0)
    if nearest:
        places = cv2.initUndistortRectifyMap(matrix, view.distortion, None, straight, (width, height), cv2.CV_32FC1)
        image = cv2.remap(view.image, *places, cv2.INTER_NEAREST)
    else:
        image = cv2.undistort(view.image, matrix, view.distortion, None, straight)
    focal = np.array([straight[0, 0], straight[1, 1]])
    return View(image, focal, straight[:2, 2] + 0.5, np.zeros(5))


def crop_to(view: View, size: tuple[int, int]) -> View:
    """The largest centre piece of an image with the proportions of size (width, height)."""
    return cut(view, centre_piece(view.image.shape[1], view.image.shape[0], size))


def cut(view: View, window: tuple[int, int, int, int]) -> View:
    """A piece of an image: left, top, width, height, pixels; the principal point moves with the corner."""
    left, top, width, height = window
    image = view.image[top : top + height, left : left + width]
    return View(image, view.focal, view.centre - np.array([left, top]), view.distortion)


def piece_showing(view: View, pose: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The centre piece, moved as far as it takes to show points (P, 3), and no farther; about their middle where they do not fit.
    pose: (4, 4) camera to world. Points behind the camera do not count."""
    shape = (view.image.shape[1], view.image.shape[0])
    piece = centre_piece(*shape, size)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    local = local[local[:, 2] < -1e-6 * np.abs(local).max(initial=1.0)]
    if not len(local):
        return piece
    pixels = local[:, :2] / -local[:, 2:] * [1, -1] * view.focal + view.centre
    corner = []
    for axis in (0, 1):
        start, length = piece[axis], piece[axis + 2]
        low, high = pixels[:, axis].min() - RIM * length, pixels[:, axis].max() + RIM * length
        wanted = (low + high - length) / 2 if high - low > length else min(max(start, high - length), low)
        corner.append(int(np.clip(np.rint(wanted), 0, shape[axis] - length)))
    return corner[0], corner[1], piece[2], piece[3]


def piece_seen_by(view: View, like: View, size: tuple[int, int]) -> View:
    """The largest piece of a view with the proportions of size (width, height), scaled to it, where the principal
    point of another one of the same camera says that it was cut."""
    height, width = view.image.shape[:2]
    shape, extent = np.array([width, height]), np.array(centre_piece(width, height, size)[2:])
    corner = view.centre - like.centre * extent / [like.image.shape[1], like.image.shape[0]]
    left, top = np.clip(np.rint(corner), 0, shape - extent).astype(int).tolist()
    return resize(cut(view, (left, top, *extent.tolist())), size)


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
