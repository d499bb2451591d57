"""The depth that a capture brings beside its photographs, straightened, cut and scaled as these are.

Sources: nerfstudio's `depth_file_path` (PNG of whole numbers, millimetres unless the file says otherwise, or `.npy` of lengths) and
instant-ngp's `depth_path` with `integer_depth_scale`. Both are depth along the optical axis, and 0 is "not measured".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.scenes.capture import crop_to, make_view, resize, undistort
from qnerf.scenes.depth_map import axis_cosine, fill_in
from qnerf.scenes.images import read_grey
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.readers.reader import Frame
from qnerf.scenes.scene import Scene

_NEAREST = 0.1  # share of the pixels within the proxy's bounds that surely show the object
_AGREE = 2.0  # factor between the depth there and the bounds'


def capture_depth(scene: Scene, size: tuple[int, int], crop: bool) -> Tensor:
    """(N, H, W) distance along each pixel's ray, the scene's units. size: (height, width). crop: as the views were made.

    What was not measured has the depth of the nearest pixel that was. Raises UserError where a file cannot be read, and where the
    depth is of another unit than the cameras: the nearest of it inside the proxy's bounds is far from these.
    """
    assert scene.depths is not None
    height, width = size
    cameras = scene.cameras.resized(width, height).to(HOST)
    axial = np.stack([_fitted(photograph.frame, (width, height), crop) for photograph in scene.depths]) / scene.world.scale
    distance = torch.from_numpy(axial).float() / axis_cosine(cameras, size)
    if scene.proxy is not None:
        bounds = bounds_distance(scene.proxy, "source", cameras, size)
        inside = torch.isfinite(bounds)
        share = float(np.quantile((distance[inside] / bounds[inside]).numpy(), _NEAREST)) if inside.any() else 1.0
        if not 1 / _AGREE < share < _AGREE:
            raise UserError(
                f"{scene.depths[0].frame.depth}: where the proxy is, the capture's depth is {share:.3g} times the proxy's distance "
                "from the cameras, expected about 1: it is of another unit than the cameras; write integer_depth_scale into the "
                f"capture's file, the length of 1 in such an image (now {scene.depths[0].frame.depth_unit:g})."
            )
    return distance


def _fitted(frame: Frame, size: tuple[int, int], crop: bool) -> np.ndarray:
    """A view's depth along the axis (H, W) float32, world units. size: (width, height)."""
    assert frame.depth is not None
    values = read_depth_values(frame.depth, frame.depth_unit)
    missing = ~(values > 0)
    if missing.all():
        raise UserError(f"{frame.depth} has no depth above 0: export it again, or remove its name from the capture's file.")
    filled = fill_in(torch.from_numpy(values)[None], torch.from_numpy(missing)[None])[0].numpy()
    view = undistort(make_view(replace(frame, image=frame.depth), filled))
    view = resize(crop_to(view, size) if crop else view, size)
    return np.clip(view.image, filled.min(), filled.max())  # bicubic enlargement overshoots at edges


def read_depth_values(path: Path, unit: float) -> np.ndarray:
    """(H, W) float32, world units; 0 where nothing was measured. unit: of whole numbers; floats are lengths."""
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{path} cannot be read as an array ({str(error).splitlines()[0]}): export it again.") from None
    else:
        values = read_grey(path)
    values = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    if values.ndim != 2 or values.dtype.kind not in "uif":
        raise UserError(
            f"{path} has {values.dtype} values of shape {values.shape}, expected (height, width) numbers: export it again."
        )
    lengths = values.astype(np.float64) * (1.0 if values.dtype.kind == "f" else unit)
    return np.where(np.isfinite(lengths) & (lengths > 0), lengths, 0).astype(np.float32)
