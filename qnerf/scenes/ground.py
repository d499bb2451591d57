"""The ground that an object stands on: a plane, what the views show of it, and shadows on it (docs/method.md §4.6, ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.solids import Solid

CELLS = 128  # of the table of the ground, along either side
_CIRCLE = np.linspace(0, 2 * np.pi, 12, endpoint=False)
_ALIKE = 0.02  # mean square of the second component of the cameras' horizontal axes: below it, they are about parallel


@dataclass(frozen=True)
class Ground:
    """The points p with up · p = height, and a table of the square of it that matters.

    up: (3,) unit. height: world units. middle: (3,) the square's middle. half: half its side, world units.
    """

    up: np.ndarray
    height: float
    middle: np.ndarray
    half: float

    @cached_property
    def axes(self) -> np.ndarray:
        """(2, 3) orthonormal directions in the plane: along the table's rows, and along its columns."""
        first = np.cross(self.up, np.eye(3)[int(np.abs(self.up).argmin())])
        first /= np.linalg.norm(first)
        return np.stack([first, np.cross(self.up, first)])

    def above(self, points: np.ndarray) -> np.ndarray:
        """How far points (..., 3) are above the plane, 0 for those below it."""
        return np.maximum(points @ self.up - self.height, 0.0)

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The middles of the table's cells, row by row: (CELLS², 3) world positions; and (CELLS², 2), -1 to 1 over the table."""
        along = (np.arange(CELLS) + 0.5) * (2 / CELLS) - 1
        where = np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
        return self.middle + self.half * where @ self.axes, where

    def directions(self, azimuths: np.ndarray, elevation: float) -> list[np.ndarray]:
        """Unit vectors (3,) at these angles, radians."""
        flat = np.stack([np.cos(azimuths), np.sin(azimuths)], axis=-1) @ self.axes
        return list(np.cos(elevation) * flat + np.sin(elevation) * self.up)


def up_of(cameras: Cameras) -> np.ndarray:
    """(3,) unit: the direction that is square to the cameras' horizontal axes; if these are parallel, the mean vertical axis."""
    turn = cameras.camera_to_world[:, :3, :3].cpu().double().numpy()
    sideways, upwards = turn[:, :, 0], turn[:, :, 1].mean(axis=0)
    values, vectors = np.linalg.eigh(sideways.T @ sideways / len(turn))
    if values[1] < _ALIKE:
        return upwards / max(float(np.linalg.norm(upwards)), 1e-9)
    return vectors[:, 0] if vectors[:, 0] @ upwards >= 0 else -vectors[:, 0]


def draw_shadow(solids: Sequence[Solid], ground: Ground, light: np.ndarray, spread: float = 0.0) -> np.ndarray:
    """Where solids cast their shadow on the ground: (CELLS, CELLS) float32, 0 or 1.

    light: (3,) unit, towards the light, which is above the ground. spread: by how much thicker a solid is for each unit of its
    height above the ground, since the edge of a shadow widens. Seen from the light a ball is a circle, and a solid is the hull of
    its balls: this is exact, but for the circles' corners.
    """
    table = np.zeros((CELLS, CELLS), dtype=np.uint8)
    first = np.cross(light, np.eye(3)[int(np.abs(light).argmin())])
    first /= np.linalg.norm(first)
    circle = np.cos(_CIRCLE)[:, None] * first + np.sin(_CIRCLE)[:, None] * np.cross(light, first)
    for solid in solids:
        points, radius = solid.hull()
        rims = points[:, None] + (radius + spread * ground.above(points))[:, None, None] * circle
        falls = rims - (ground.above(rims) / (light @ ground.up))[..., None] * light
        corners = ((falls - ground.middle) @ ground.axes.T / ground.half + 1) * (CELLS / 2) - 0.5
        hull = cv2.convexHull(np.rint(corners.reshape(-1, 2).clip(-CELLS, 2 * CELLS) * 16).astype(np.int32))
        cv2.fillConvexPoly(table, hull, 1, cv2.LINE_8, 4)
    return table.astype(np.float32)


def ground_in_views(table: np.ndarray, ground: Ground, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """A table of the ground (CELLS, CELLS), drawn into the views as if nothing stood before it: (N, h, w) float32, 0 outside it."""
    device, (height, width) = cameras.focal.device, size
    rays = cameras.resized(width, height).token_rays(height, width)
    up, axes, middle = (torch.as_tensor(x, dtype=torch.float32, device=device) for x in (ground.up, ground.axes, ground.middle))
    down = rays.directions @ up
    distance = (ground.height - rays.origins @ up) / torch.where(down.abs() < 1e-6, 1e-6, down)
    where = (rays.origins + distance[..., None] * rays.directions - middle) @ axes.T / ground.half
    values = torch.as_tensor(table, device=device).expand(len(cameras), 1, -1, -1)
    seen = F.grid_sample(values, where, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]
    return seen * (distance > 0)


def colours_of_ground(ground: Ground, images: Tensor, cameras: Cameras, hidden: Tensor) -> np.ndarray:
    """What each view shows at the cells of the ground: (N, CELLS², 3), NaN where it does not see the cell.

    images: (N, 3, H, W) in [0, 1]. hidden: (N, H, W), above 0 where something stands before the ground.
    """
    points = torch.as_tensor(ground.cells()[0], dtype=torch.float32, device=images.device)
    pixels, z_depth = cameras.project(points)
    where = (pixels / pixels.new_tensor([cameras.width, cameras.height]) * 2 - 1)[:, None]
    covered = F.grid_sample(hidden[:, None], where, mode="bilinear", align_corners=False)[:, 0, 0]
    colours = F.grid_sample(images, where, mode="bilinear", align_corners=False)[:, :, 0]
    seen = (z_depth > 1e-3) & (where[:, 0].abs() < 1).all(dim=-1) & (covered == 0)
    return torch.where(seen[..., None], colours.transpose(1, 2), torch.nan).cpu().double().numpy()
