"""An analytic ray caster for solids on a patterned floor before a background.

All rays of an image start at one point, and each solid only looks at the rectangle of pixels that its bounding balls cover.
Images are rendered at `SUPERSAMPLING` times the size and box-filtered; the ground-truth maps are sampled at pixel centres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qnerf.scenes.procedural.shading import Paint, shade_solid
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.surroundings import Surroundings, shade_surroundings
from qnerf.scenes.solids import FAR, Solid

SUPERSAMPLING = 2


@dataclass(frozen=True)
class PinholeView:
    """One camera in numpy: camera_to_world (4, 4) with OpenGL axes, focal length in pixels (square pixels), size in pixels."""

    camera_to_world: np.ndarray
    focal: float
    size: int

    def directions(self, size: int) -> np.ndarray:
        """(size * size, 3) unit directions through the pixel centres of an image of size x size."""
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (self.size / size) - self.size / 2
        x, y = np.meshgrid(axis / self.focal, -axis / self.focal)
        length = np.sqrt(x * x + y * y + 1)
        local = np.stack([x / length, y / length, -1 / length], axis=-1).reshape(-1, 3)
        return local @ self.camera_to_world[:3, :3].T.astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (P, 3) to pixels (P, 2) and z_depth (P,)."""
        local = (points - self.camera_to_world[:3, 3]) @ self.camera_to_world[:3, :3]
        z_depth = np.maximum(-local[:, 2], 1e-6)
        xy = local[:, :2] / z_depth[:, None] * [self.focal, -self.focal]
        return xy + self.size / 2, -local[:, 2]


def cast(view: PinholeView, solids: Sequence[Solid], size: int, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest solid along each ray of a size x size image: distance (size², ) (FAR for none) and index (-1 for none)."""
    origin = view.camera_to_world[:3, 3]
    depth = np.full((size, size), FAR, dtype=np.float32)
    nearest = np.full((size, size), -1, dtype=np.int16)
    grid = directions.reshape(size, size, 3)
    for index, solid in enumerate(solids):
        window = _bounding_window(view, solid, size)
        if window is None:
            continue
        rays = grid[window]
        distance = solid.intersect(origin, rays.reshape(-1, 3)).reshape(rays.shape[:2])
        closer = distance < depth[window]
        depth[window][closer] = distance[closer]
        nearest[window][closer] = index
    return depth.reshape(-1), nearest.reshape(-1)


def _bounding_window(view: PinholeView, solid: Solid, size: int) -> tuple[slice, slice] | None:
    """Rows and columns that a solid can cover, None where it is out of the picture."""
    points, radius = solid.hull()
    pixels, z_depth = view.project(points)
    if z_depth.min() <= radius:
        return slice(0, size), slice(0, size)
    # 1.15: a sphere off the optical axis projects to an ellipse that is a little longer than its radius.
    reach = 1.15 * view.focal * radius / (z_depth - radius) + 1
    low = ((pixels - reach[:, None]).min(axis=0) * size / view.size).astype(int)
    high = ((pixels + reach[:, None]).max(axis=0) * size / view.size).astype(int) + 1
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    if (low >= high).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])


def render(
    view: PinholeView,
    solids: Sequence[Solid],
    paints: dict[str, Paint],
    around: Surroundings,
    shadow: ContactShadow,
) -> np.ndarray:
    """The image (3, S, S), float32 in [0, 1], of one view. paints: by `Solid.part`."""
    size = view.size * SUPERSAMPLING
    directions = view.directions(size)
    depth, nearest = cast(view, solids, size, directions)
    colour = shade_surroundings(view.camera_to_world[:3, 3], directions, around, shadow)
    for index, solid in enumerate(solids):
        seen = np.flatnonzero(nearest == index)
        if len(seen):
            points = view.camera_to_world[:3, 3].astype(np.float32) + depth[seen, None] * directions[seen]
            colour[seen] = shade_solid(points, directions[seen], solid, paints[solid.part], around)
    return np.clip(box_filter(colour, view.size), 0, 1)


def box_filter(colour: np.ndarray, size: int) -> np.ndarray:
    """Supersampled colours (rows * columns, 3) to an image (3, size, size)."""
    grid = colour.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3)
    samples = [grid[:, i, :, j] for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)]
    return np.ascontiguousarray((sum(samples[1:], samples[0]) / len(samples)).transpose(2, 0, 1), dtype=np.float32)


def geometry(view: PinholeView, solids: Sequence[Solid]) -> tuple[np.ndarray, np.ndarray]:
    """The truth at pixel centres: depth (S, S) along the unit rays (floor included, FAR for the background), and the index
    (S, S) of the solid seen, -1 for none."""
    directions = view.directions(view.size)
    depth, nearest = cast(view, solids, view.size, directions)
    downwards = np.minimum(directions[:, 2], -1e-6)
    to_floor = np.where(directions[:, 2] < -1e-6, -view.camera_to_world[2, 3] / downwards, FAR)
    return (
        np.minimum(depth, to_floor).astype(np.float32).reshape(view.size, view.size),
        nearest.reshape(view.size, view.size),
    )
