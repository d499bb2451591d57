"""Where a capture's masks say that the object is: masks that show a small part of every photograph show the object of interest.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.focus import MISSED, PARALLEL, ahead_of, optical_axes
from qnerf.scenes.images import image_size, read_mask
from qnerf.scenes.lens import centre_of, focal_of, intrinsics_problem
from qnerf.scenes.readers.reader import Frame

MOST = 0.5  # of a photograph: a mask that shows more leaves something out, and does not show the object
LEAST_MASKS = 2


def middle_of_masks(frames: Sequence[Frame]) -> np.ndarray | None:
    """The point (3,) nearest to the rays through the middles of the frames' masks, world units; lens distortion does not count.

    None where there are no masks of an object, or where the rays do not meet before the cameras.
    """
    rays = []
    for frame in frames:
        if frame.mask_file is None or not frame.exists:
            continue
        try:
            mask = read_mask(frame.mask_file)
        except UserError:  # told when the views are read
            return None
        if not 0 < mask.mean() <= MOST:
            return None
        ray = _ray(frame, mask)
        if ray is None:
            return None
        rays.append(ray)
    if len(rays) < LEAST_MASKS:
        return None
    poses = np.stack(rays)
    found = optical_axes(poses)
    met = found.spread > PARALLEL and found.missed <= MISSED and (ahead_of(poses, found.focus) > 0).all()
    return found.focus if met else None


def _ray(frame: Frame, mask: np.ndarray) -> np.ndarray | None:
    """The frame's pose (4, 4), its z axis turned against the ray through the middle of what its mask (h, w) shows."""
    height, width = mask.shape
    across, down = image_size(frame.image) or (width, height)
    named = round(frame.numbers.get("w", across)), round(frame.numbers.get("h", down))
    focal, centre = focal_of(frame.numbers, *named), centre_of(frame.numbers, *named)
    if intrinsics_problem(focal, centre, named):  # told when the views are read
        return None
    rows, columns = np.nonzero(mask)
    pixel = (np.array([columns.mean(), rows.mean()]) + 0.5) * named / np.array([width, height])
    x, y = (pixel - centre) / focal
    direction = frame.pose[:3, :3] @ np.array([x, -y, -1.0])
    ray = frame.pose.copy()
    ray[:3, 2] = -direction / np.linalg.norm(direction)
    return ray
