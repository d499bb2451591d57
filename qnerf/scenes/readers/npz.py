"""What networks that find cameras export: an .npz file with cameras, depth and mostly the images.

Read are Depth Anything 3's (`exports/npz/results.npz`, `exports/mini_npz/results.npz`) and VGGT's (`predictions.npz`); others with
the same keys do as well. `extrinsics` (or `extrinsic`): (N, 3, 4) or (N, 4, 4), world to camera, OpenCV's axes. `intrinsics` (or
`intrinsic`): (N, 3, 3), pixels of the images that the network saw. `depth`: (N, H, W), along the optical axis, the cameras' units.
`image` or `images`: (N, H, W, 3) or (N, 3, H, W), bytes or 0 to 1; without them the images are those beside the file or in images/,
in the natural order of their names. Confidences are not read.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.focus import FLIP
from qnerf.scenes.frames import EXTENSIONS, checked_pose, natural
from qnerf.scenes.images import image_size
from qnerf.scenes.lens import intrinsics_problem
from qnerf.scenes.problems import brief, raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

NAMES = {"extrinsics": "extrinsic", "intrinsics": "intrinsic", "image": "images", "depth": "depths"}  # each by the other's name
PLACES = (".", "exports/npz", "exports/mini_npz")
MOST_BYTES = 4 << 30  # of a file's arrays that are read
SKEW = 1e-3  # of the focal length, that intrinsics may have besides
STRETCHED = 1.02  # by which networks stretch an image to sides that they can take
STEP = 16  # pixels between the points that depth gives


def file_of(path: Path) -> Path | None:
    """The first .npz file with cameras: the path itself, or one of a folder; None where there is none."""
    if path.is_file():
        return path if path.suffix.lower() == ".npz" and _has_cameras(path) else None
    folders = (path / place for place in PLACES)
    files = (file for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.npz")))
    return next((file for file in files if _has_cameras(file)), None)


def read(path: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Raises one UserError that names every view that is wrong."""
    file = file_of(path)
    if file is None:
        raise UserError(f"{path} has no .npz file with extrinsics and intrinsics: export the cameras again.")
    arrays = _arrays(file, file.stat().st_mtime_ns)
    poses, matrices = arrays["extrinsics"], arrays["intrinsics"]
    count = len(poses)
    images, depth = arrays.get("image"), arrays.get("depth")
    files = None if images is not None else _images_beside(path if path.is_dir() else path.parent, file)
    for name, have in (("intrinsics", len(matrices)), ("image", len(images if images is not None else files or ()))):
        if have != count:
            raise UserError(
                f"{file} has {count} extrinsics and {have} of {name}, expected as many: export it again with its images."
            )
    if depth is not None and len(depth) != count:
        raise UserError(f"{file} has {count} extrinsics and {len(depth)} depths, expected as many: export it again.")
    problems: list[str] = []
    frames = []
    for view, (world_to_camera, matrix) in enumerate(zip(poses, matrices, strict=True)):
        where = f"{file}: view {view}"
        pose = checked_pose(where, _inverse(world_to_camera), problems)
        size = _size(view, images, depth, files)
        if size is None:
            problems.append(f"{where} has an image that cannot be decoded, expected PNG or JPEG: copy it again.")
        elif (numbers := _numbers(where, matrix, size, problems)) and pose is not None:
            own = None if images is None else images[view]
            image = file if files is None else files[view]
            numbers = numbers if files is None else _scaled(where, numbers, image, problems)
            name = f"{view:04d}.png" if files is None else image.name
            along = None if depth is None else depth[view]
            frames.append(Frame(name, image, True, pose, numbers, depth=along, depth_unit=1.0, pixels=own))
    raise_problems(str(path), problems)
    return {}, frames


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The pose (4, 4) camera to world, OpenGL's axes, of world to camera (3, 4) or (4, 4), OpenCV's; NaN where it is none."""
    whole = np.vstack([matrix[:3], [0.0, 0.0, 0.0, 1.0]])
    if not np.isfinite(whole).all() or abs(np.linalg.det(whole)) < 1e-12:
        return np.full((4, 4), np.nan)
    return np.linalg.inv(whole) @ FLIP


def _size(view: int, images: np.ndarray | None, depth: np.ndarray | None, files: list[Path] | None) -> tuple[int, int] | None:
    """Width and height that a view's intrinsics belong to: the depth's, which is the network's own; else the image's."""
    seen = depth[view] if depth is not None else None if images is None else images[view]
    return (seen.shape[1], seen.shape[0]) if seen is not None else image_size(files[view]) if files else None


def _numbers(where: str, matrix: np.ndarray, size: tuple[int, int], problems: list[str]) -> dict[str, float]:
    """Intrinsics by the keys of transforms.json; none, and a problem, where they are no camera's."""
    focal, centre = (float(matrix[0, 0]), float(matrix[1, 1])), (float(matrix[0, 2]), float(matrix[1, 2]))
    if not np.isfinite(matrix).all() or np.abs(matrix[2] - [0.0, 0.0, 1.0]).max() > 1e-6:
        problems.append(f"{where} has intrinsics that are no camera's, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]].")
    elif max(abs(matrix[0, 1]), abs(matrix[1, 0])) > SKEW * abs(focal[0]):
        problems.append(f"{where} has skewed intrinsics, expected 0 beside the focal lengths: export rectified images.")
    elif problem := intrinsics_problem(focal, centre, size):
        problems.append(f"{where} has {problem}.")
    else:
        return dict(zip(("fl_x", "fl_y", "cx", "cy", "w", "h"), (*focal, *centre, *map(float, size)), strict=True))
    return {}


def _scaled(where: str, numbers: dict[str, float], image: Path, problems: list[str]) -> dict[str, float]:
    """Intrinsics of the photograph that the network saw scaled to numbers["w"] x numbers["h"], each side by itself."""
    width, height = image_size(image) or (0, 0)
    across, down = width / numbers["w"], height / numbers["h"]
    if not 1 / STRETCHED < across / max(down, 1e-9) < STRETCHED:
        seen = f"{numbers['w']:.0f} x {numbers['h']:.0f}"
        problems.append(
            f"{where}: {image.name} is {width} x {height} pixels, but {seen} were seen, a part of it: export the images."
        )
        return numbers
    factors = {"fl_x": across, "cx": across, "w": across, "fl_y": down, "cy": down, "h": down}
    return {key: value * factors[key] for key, value in numbers.items()}


def _images_beside(folder: Path, file: Path) -> list[Path]:
    for place in dict.fromkeys((folder / "images", folder, file.parent / "images", file.parent)):
        if place.is_dir():
            found = [each for each in place.iterdir() if each.suffix.lower() in EXTENSIONS[1:] and each.is_file()]
            if found:
                return sorted(found, key=lambda each: natural(each.name))
    return []


def _has_cameras(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False
    return all(f"{name}.npy" in names or f"{NAMES[name]}.npy" in names for name in ("extrinsics", "intrinsics"))


@lru_cache(maxsize=1)
def _arrays(path: Path, _: int) -> dict[str, np.ndarray]:
    """The arrays of a file in one form each. Raises UserError where one is damaged or of another shape."""
    found: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = {name: members.get(name, members.get(other)) for name, other in NAMES.items()}
            if sum(info.file_size for info in wanted.values() if info) > MOST_BYTES:
                raise UserError(f"{path} has more than {MOST_BYTES >> 30} GiB of arrays, expected fewer: export fewer views.")
            for name, info in wanted.items():
                if info is not None:
                    with archive.open(info) as member:
                        found[name] = _array(member, info.file_size)
    except UserError:
        raise
    except Exception as error:  # zipfile and numpy raise nearly everything on damaged files
        reason = brief(f"{type(error).__name__}: {error}", 100)
        raise UserError(f"{path} is damaged ({reason}), expected an .npz file of NumPy: export it again.") from None
    return {name: _shaped(path, name, values) for name, values in found.items()}


def _array(member: Any, size: int) -> np.ndarray:
    """An array whose header promises no more than the file holds: memory is taken as the header says."""
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("an unknown version of .npy")
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, kind = head(member)
    if kind.hasobject or kind.kind not in "fiu" or any(side <= 0 for side in shape) or int(np.prod(shape, dtype=object)) > size:
        raise ValueError(f"an array of {kind} of shape {shape}")
    values = np.frombuffer(member.read(int(np.prod(shape, dtype=object)) * kind.itemsize), dtype=kind)
    return values.reshape(shape, order="F" if by_columns else "C")


def _shaped(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """extrinsics and intrinsics float64, depth (N, H, W) float32, images (N, H, W, 3) uint8; a leading 1 is left out."""
    ndim = {"extrinsics": 3, "intrinsics": 3, "image": 4, "depth": 3}[name]
    if name == "depth" and values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == ndim + 1 and len(values) == 1:
        values = values[0]
    if name == "image" and values.ndim == 4 and values.shape[1] == 3 and values.shape[3] != 3:
        values = values.transpose(0, 2, 3, 1)
    right = {"extrinsics": ((3, 4), (4, 4)), "intrinsics": ((3, 3),)}.get(name)
    if values.ndim != ndim or (right and values.shape[1:] not in right) or (name == "image" and values.shape[3] != 3):
        expected = {"extrinsics": "N x 3 x 4", "intrinsics": "N x 3 x 3", "image": "N x H x W x 3", "depth": "N x H x W"}[name]
        shape = " x ".join(map(str, values.shape))
        raise UserError(f"{path} has {name} of the shape {shape}, expected {expected}: export it again.")
    if name != "image":
        return values.astype(np.float32 if name == "depth" else np.float64)
    if values.dtype == np.uint8:
        return values
    if not (values.dtype.kind == "f" and np.isfinite(values).all() and values.min() >= -0.01 and values.max() <= 1.01):
        raise UserError(f"{path} has images that are neither bytes nor numbers from 0 to 1: export it again.")
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)


def _points(path: Path) -> np.ndarray | None:
    """Points of the surface, a pixel in `STEP` of each row and column."""
    found = []
    for frame in read(path)[1]:
        if not isinstance(frame.depth, np.ndarray):
            return None
        height, width = frame.depth.shape
        x, y = np.meshgrid(np.arange(STEP // 2, width, STEP), np.arange(STEP // 2, height, STEP))
        z = frame.depth[y, x].astype(np.float64)
        known = np.isfinite(z) & (z > 0)
        n = frame.numbers
        local = np.stack([(x + 0.5 - n["cx"]) / n["fl_x"] * z, -(y + 0.5 - n["cy"]) / n["fl_y"] * z, -z], axis=-1)[known]
        found.append(local @ frame.pose[:3, :3].T + frame.pose[:3, 3])
    points = np.concatenate(found) if found else np.empty((0, 3))
    return points if len(points) else None


READER = Reader(
    name="npz",
    looks_for="an .npz file with extrinsics and intrinsics",
    finds=lambda path: file_of(path) is not None,
    read=read,
    files=lambda path: [file for file in (file_of(path),) if file],
    points=_points,
    rank=3,
    axes_known=True,
)
