"""What a capture says of its photographs' pixels beside their colours: which of them count (`mask_path`), and how far off
what they show is (`depth_file_path`).

Both are nerfstudio's: a mask is white where the photograph counts; depth is the distance along the optical axis, 0 where it is
not known, times a unit. The unit is said (`depth_unit_scale_factor`), or one of nerfstudio's (millimetres) and the world's own,
whichever makes neighbouring views agree. Depth on which they do not agree is not used, which is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.capture import View, crop_to, make_view, resize, undistort
from qnerf.scenes.images import MOST_PIXELS, NOTHING, decode, read_mask
from qnerf.scenes.photographs import Photograph
from qnerf.scenes.problems import brief
from qnerf.scenes.readers.reader import Frame, Reader
from qnerf.scenes.world import World

UNITS = (1e-3, 1.0)  # millimetres, and the world's own
CLOSE = 0.1  # how far the distances of one point may differ between two views, as a share
AGREEING = 0.5  # share of the points in common that are close, below which depth is not used
LEAST_COMMON = 50  # points in common below which nothing is judged
_WHOLE = 254  # of 255: a pixel of a view counts if all that it covers does
_POINTS = 48  # per side of a view, at which views are compared


@dataclass(frozen=True)
class Beside:
    """valid: (N, H, W) bool, which pixels of the views count, None where all do. depth: (N, H, W) float32, distance along the
    ray, world units, infinite where it is not known; None where the capture has none. notes: what is to be said."""

    valid: torch.Tensor | None
    depth: torch.Tensor | None
    notes: tuple[str, ...] = ()


def read_beside(
    photographs: Sequence[Photograph], cameras: Cameras, size: tuple[int, int], crop: bool, scale: float, problems: list[str]
) -> Beside:
    """Masks and depth of the views of `cameras`, width and height `size`. scale: world units of a unit of the cameras'.

    What is damaged becomes a problem.
    """
    frames = [photograph.frame for photograph in photographs]
    masks = [_tried(lambda p=p: _mask(p, size, crop), problems) if p.frame.mask_file else None for p in photographs]
    maps = [_tried(lambda p=p: _depth(p, size, crop), problems) if p.frame.depth is not None else None for p in photographs]
    valid = None
    if any(mask is not None for mask in masks):
        valid = torch.from_numpy(np.stack([np.ones(size[::-1], bool) if mask is None else mask for mask in masks]))
        if not valid.any():
            problems.append(f"{frames[0].mask_file} and all other masks leave nothing of the views: white is what counts.")
    if not any(each is not None for each in maps):
        return Beside(valid, None)
    z_depth = torch.from_numpy(np.stack([np.zeros(size[::-1], np.float32) if each is None else each for each in maps]))
    return _in_units(z_depth, cameras, frames, scale, valid)


def _in_units(z_depth: torch.Tensor, cameras: Cameras, frames: Sequence[Frame], scale: float, valid: torch.Tensor | None) -> Beside:
    """The depth in the unit in which neighbouring views agree."""
    forward = -cameras.camera_to_world[:, None, None, :3, 2]
    rays = cameras.token_rays(cameras.height, cameras.width)
    cosine = (rays.directions * forward).sum(dim=-1)
    along = torch.where(z_depth > 0, z_depth / cosine, torch.inf)
    said = {frame.depth_unit for frame in frames if frame.depth is not None and frame.depth_unit is not None}
    tried = tuple(said) if said else UNITS
    found = {unit: agreement(along * (unit / scale), cameras) for unit in tried}
    judged = [unit for unit in tried if found[unit][1] >= LEAST_COMMON]
    unit = max(judged, key=lambda unit: found[unit][0]) if judged else tried[0]
    share = found[unit][0]
    where = next(str(frame.depth if isinstance(frame.depth, Path) else frame.image) for frame in frames if frame.depth is not None)
    if len(said) > 1 or (judged and share < AGREEING):
        what = "has several units" if len(said) > 1 else f"agrees on {share:.0%} of the points that two views see"
        advice = "give depth_unit_scale_factor, world units of one unit of depth"
        return Beside(valid, None, (f"{where}: depth (depth_file_path) {what}, so it is not used: {advice}",))
    why = f"on which the views agree at {share:.0%} of their points" if judged else "which nothing confirms"
    notes = () if said else (f"{where}: depth is taken in units of {unit:g} world units, {why}",)
    return Beside(valid, along * (unit / scale), notes)


def agreement(depth: torch.Tensor, cameras: Cameras) -> tuple[float, int]:
    """The share of points seen by two neighbouring views whose distances are close, and how many such points there are.

    depth: (N, H, W) distance along the ray, infinite where it is not known.
    """
    rows, columns = (torch.linspace(0, side - 1, min(side, _POINTS)).long() for side in depth.shape[1:])
    rays = cameras.token_rays(cameras.height, cameras.width)
    distance = depth[:, rows][:, :, columns].flatten(1)
    points = (rays.origins + depth[..., None] * rays.directions)[:, rows][:, :, columns].flatten(1, 2)
    apart = torch.cdist(cameras.positions, cameras.positions).fill_diagonal_(torch.inf)
    close, common = 0, 0
    for view, other in enumerate(apart.argmin(dim=1).tolist()):
        known = torch.isfinite(distance[view])
        seen = points[view][known]
        pixels, ahead = cameras[[other]].project(seen)
        column, row = pixels[0].floor().long().unbind(dim=-1)
        inside = (ahead[0] > 0) & (column >= 0) & (row >= 0) & (column < cameras.width) & (row < cameras.height)
        there = depth[other, row[inside], column[inside]]
        expected = (seen[inside] - cameras.positions[other]).norm(dim=-1)
        counted = torch.isfinite(there)
        close += int(((there - expected).abs() < CLOSE * expected)[counted].sum())
        common += int(counted.sum())
    return (close / common if common else 0.0), common


def limits_of(
    folder: Path, reader: Reader, depth: torch.Tensor | None, cameras: Cameras, world: World
) -> tuple[float, float] | None:
    """How far off the scene is from its cameras, at least and at most, the cameras' units: by depth, by what the format says, or by
    its points; None where nothing tells."""
    if not reader.posed:
        return None
    if depth is not None and (found := range_of_depth(depth)):
        return found
    if said := reader.limits(folder):
        return said[0] / world.scale, said[1] / world.scale
    points = reader.points(folder)
    return None if points is None else range_of_points(world.inward(points), cameras)


def range_of_depth(depth: torch.Tensor) -> tuple[float, float] | None:
    """The least and the greatest distance of depth (N, H, W), without one in a hundred of each; None where none is known."""
    known = [view[torch.isfinite(view)] for view in depth]
    return _range([view.numpy() for view in known])


def range_of_points(points: np.ndarray, cameras: Cameras) -> tuple[float, float] | None:
    """As `range_of_depth`, of points (P, 3) as the cameras see them."""
    tensor = torch.from_numpy(points).float()
    pixels, ahead = cameras.project(tensor)
    limits = pixels.new_tensor([cameras.width, cameras.height])
    seen = (ahead > 0) & (pixels >= 0).all(-1) & (pixels <= limits).all(-1)
    away = (tensor - cameras.positions[:, None]).norm(dim=-1)
    return _range([view[inside].numpy() for view, inside in zip(away, seen, strict=True)])


def _range(distances: Sequence[np.ndarray]) -> tuple[float, float] | None:
    ends = [np.quantile(view, (0.01, 0.99)) for view in distances if len(view) >= LEAST_COMMON]
    return (float(min(low for low, _ in ends)), float(max(high for _, high in ends))) if ends else None


def _tried(read: Callable[[], np.ndarray], problems: list[str]) -> np.ndarray | None:
    try:
        return read()
    except UserError as error:
        problems.append(str(error))
        return None


def _mask(photograph: Photograph, size: tuple[int, int], crop: bool) -> np.ndarray:
    """(H, W) bool at the view's size."""
    assert photograph.frame.mask_file is not None
    mask = read_mask(photograph.frame.mask_file).astype(np.uint8) * 255
    view = _as_photographed(photograph, mask)
    return resize(crop_to(undistort(view), size) if crop else undistort(view), size).image >= _WHOLE


def _depth(photograph: Photograph, size: tuple[int, int], crop: bool) -> np.ndarray:
    """(H, W) float32 at the view's size, of the nearest pixels: a mean over an edge is the distance of nothing."""
    view = undistort(_as_photographed(photograph, depth_values(photograph.frame)), nearest=True)
    view = crop_to(view, size) if crop else view
    return cv2.resize(view.image, size, interpolation=cv2.INTER_NEAREST)


def _as_photographed(photograph: Photograph, values: np.ndarray) -> View:
    """Values (h, w) at the photograph's size, with its lens."""
    width, height = photograph.width, photograph.height
    if abs(values.shape[1] * height - values.shape[0] * width) > max(values.shape[0] * width, values.shape[1] * height) * 0.02:
        frame = photograph.frame
        what = frame.mask_file if values.dtype == np.uint8 else frame.depth if isinstance(frame.depth, Path) else frame.image
        raise UserError(
            f"{what} is {values.shape[1]} x {values.shape[0]} pixels for a photograph of {width} x {height}, expected the same "
            "proportions: let it name the file that belongs to the photograph."
        )
    return make_view(photograph.frame, cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST))


def depth_values(frame: Frame) -> np.ndarray:
    """(h, w) float32 as they are stored, 0 where nothing is known. Raises UserError for a file that is no depth."""
    if isinstance(frame.depth, np.ndarray):
        values = frame.depth
    elif frame.depth is not None and frame.depth.suffix.lower() == ".npy":
        values = _numpy(frame.depth)
    else:
        assert frame.depth is not None
        image = decode(frame.depth)
        if not (image.mode.startswith("I") or image.mode == "F"):
            raise UserError(f"{frame.depth} has pixels of mode {image.mode}, expected depth: a grey PNG of 16 bits or a .npy file.")
        values = np.asarray(image)
        values = np.where(values >= NOTHING, 0, values) if image.mode.startswith("I") else values
    return np.where(np.isfinite(values) & (values > 0), values, 0).astype(np.float32)


def _numpy(path: Path) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a wrong shape costs no memory
        if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" and values.ndim in (2, 3) and values.size <= MOST_PIXELS:
            values = np.array(values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values, dtype=np.float64)
            if values.ndim == 2 and values.size:
                return values
    except Exception as error:  # numpy raises nearly everything on damaged files
        raise UserError(f"{path} is damaged ({brief(type(error).__name__)}), expected a NumPy array: export it again.") from None
    raise UserError(f"{path} has no depth, expected a NumPy array of height x width numbers: export it again.")
