"""COLMAP's sparse models, binary and text: cameras, images and points (Schönberger and Frahm 2016; the format of
https://colmap.github.io/format.html). Needs no torch.

Newer models with rigs and frames still give every image its own pose in images.bin, which is what is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.problems import brief

# The models by their numbers in binary files, with the keys of transforms.json that their parameters have; "f" is
# fl_x and fl_y. Models of which nothing is read have only the number of their parameters.
MODELS: tuple[tuple[str, tuple[str, ...] | int], ...] = (
    ("SIMPLE_PINHOLE", ("f", "cx", "cy")),
    ("PINHOLE", ("fl_x", "fl_y", "cx", "cy")),
    ("SIMPLE_RADIAL", ("f", "cx", "cy", "k1")),
    ("RADIAL", ("f", "cx", "cy", "k1", "k2")),
    ("OPENCV", ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2")),
    ("OPENCV_FISHEYE", ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "k3", "k4")),
    ("FULL_OPENCV", ("fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", ("f", "cx", "cy", "k1")),
    ("RADIAL_FISHEYE", ("f", "cx", "cy", "k1", "k2")),
    ("THIN_PRISM_FISHEYE", 12),
    ("RAD_TAN_THIN_PRISM_FISHEYE", 16),
)
KEYS: dict[str, tuple[str, ...] | int] = dict(MODELS)
T = TypeVar("T")
LARGEST = 2 << 30  # bytes of a file that is read whole


@dataclass(frozen=True)
class Camera:
    """model: its name. width, height: pixels. parameters: as `MODELS` orders them."""

    model: str
    width: int
    height: int
    parameters: tuple[float, ...]


@dataclass(frozen=True)
class Image:
    """name: of its file, in the folder of images. camera: its camera's number. quaternion (w, x, y, z) and
    translation: world to camera, OpenCV's axes."""

    name: str
    camera: int
    quaternion: tuple[float, float, float, float]
    translation: tuple[float, float, float]


def model_file(folder: Path, what: str) -> Path | None:
    """The file of `cameras`, `images` or `points3D` in a model's folder, the binary one first; None where there is
    neither."""
    return next((path for path in (folder / f"{what}.bin", folder / f"{what}.txt") if path.is_file()), None)


def read_cameras(path: Path) -> dict[int, Camera]:
    """The cameras by their numbers. Raises UserError where the file is damaged."""
    return dict(_guarded(path, _binary_cameras if path.suffix == ".bin" else _text_cameras))


def read_images(path: Path) -> list[Image]:
    """The images in the order of the file. Raises UserError where the file is damaged."""
    return list(_guarded(path, _binary_images if path.suffix == ".bin" else _text_images))


def read_points(path: Path) -> np.ndarray:
    """The points (P, 3) float64. Raises UserError where the file is damaged."""
    points = list(_guarded(path, _binary_points if path.suffix == ".bin" else _text_points))
    return np.array(points, dtype=np.float64).reshape(-1, 3)


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of a quaternion (w, x, y, z) of any length above 0."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _guarded(path: Path, parse: Callable[[Path], Iterator[T]]) -> Iterator[T]:
    """What a parser gives of a file, with one UserError for whatever is wrong with it."""
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} has more than {LARGEST >> 30} GiB, expected a sparse model: is it the right file?")
        yield from parse(path)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        reason = brief(str(error), 100)
        raise UserError(f"{path} is damaged ({reason}), expected a COLMAP model: export it again.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): correct its permissions.") from None


def _binary_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    data = path.read_bytes()
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        number, model, width, height = struct.unpack_from("<iiQQ", data, at)
        if not 0 <= model < len(MODELS):
            raise ValueError(f"camera model {model}")
        name, keys = MODELS[model]
        parameters = struct.unpack_from(f"<{_number_of(keys)}d", data, at + 24)
        yield number, Camera(name, width, height, parameters)
        at += 24 + 8 * len(parameters)


def _text_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    for line in _lines(path):
        if not line.strip():
            continue
        number, name, width, height, *parameters = line.split()
        if name not in KEYS:
            raise ValueError(f"camera model {name}")
        if len(parameters) != _number_of(KEYS[name]):
            raise ValueError(f"{len(parameters)} parameters of {name}, expected {_number_of(KEYS[name])}")
        yield int(number), Camera(name, int(width), int(height), tuple(map(float, parameters)))


def _binary_images(path: Path) -> Iterator[Image]:
    data = path.read_bytes()
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        *pose, camera = struct.unpack_from("<7dI", data, at + 4)
        end = data.index(b"\0", at + 64)
        name = data[at + 64 : end].decode()
        (seen,) = struct.unpack_from("<Q", data, end + 1)
        if seen > len(data):
            raise ValueError("more points than bytes")
        yield _image(name, camera, pose)
        at = end + 9 + 24 * seen


def _text_images(path: Path) -> Iterator[Image]:
    lines = _lines(path)
    for line in lines:
        if not line.strip():
            continue
        _, *pose, camera, name = line.strip().split(maxsplit=9)
        yield _image(name, int(camera), list(map(float, pose)))
        next(lines, None)  # the points that it sees, which may be none


def _image(name: str, camera: int, pose: list[float]) -> Image:
    w, x, y, z, *translation = pose
    return Image(name, camera, (w, x, y, z), (translation[0], translation[1], translation[2]))


def _binary_points(path: Path) -> Iterator[tuple[float, ...]]:
    data = path.read_bytes()
    (count,), at = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        yield struct.unpack_from("<3d", data, at + 8)
        (track,) = struct.unpack_from("<Q", data, at + 43)
        if track > len(data):
            raise ValueError("more observations than bytes")
        at += 51 + 8 * track


def _text_points(path: Path) -> Iterator[tuple[float, ...]]:
    for line in _lines(path):
        if line.strip():
            yield tuple(map(float, line.split(maxsplit=4)[1:4]))


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text file without comments."""
    with path.open(encoding="utf-8") as file:
        yield from (line for line in file if not line.startswith("#"))


def _number_of(keys: tuple[str, ...] | int) -> int:
    return keys if isinstance(keys, int) else len(keys)
