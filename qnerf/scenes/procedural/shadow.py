"""The soft shadow that solids cast on the floor."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from qnerf.scenes.solids import Box, Solid


class ContactShadow:
    """Soft shadow of the solids on the floor, tabulated once for all views on a grid of the floor's middle.

    A solid's two ends, or a box's corners, are projected along the light; its shadow fades over a border that grows with
    its height.
    """

    HALF, CELLS = 2.5, 80

    def __init__(self, solids: Sequence[Solid], light: np.ndarray) -> None:
        axis = np.linspace(-self.HALF, self.HALF, self.CELLS, dtype=np.float32)
        points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        shade = np.zeros(len(points), dtype=np.float32)
        for solid in solids:
            corners, radius = solid.hull()
            height = corners[:, 2].min()
            border = 0.04 + 0.25 * max(height, 0.0)
            shadows = corners[:, :2] - light[:2] / light[2] * corners[:, 2:]
            if isinstance(solid, Box):
                dark = self._polygon(shadows, border)
            else:
                gap = _distance_to_segment(points, shadows[0].astype(np.float32), shadows[1].astype(np.float32)) - radius
                edge = np.clip(0.5 - gap / (2 * border), 0, 1)
                dark = edge * edge * (3 - 2 * edge)
            np.maximum(shade, dark / (1 + 0.35 * height), out=shade)
        self.table = shade.reshape(self.CELLS, self.CELLS)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Darkness (P,) in [0, 1] at floor points with coordinates x and y, (P,) each, bilinear."""
        (i, u), (j, v) = self._cell(x), self._cell(y)
        t = self.table
        return (t[i, j] * (1 - u) + t[i + 1, j] * u) * (1 - v) + (t[i, j + 1] * (1 - u) + t[i + 1, j + 1] * u) * v

    def _cell(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The table's index below each coordinate, and how far on towards the next it lies."""
        cell = (x + self.HALF) * ((self.CELLS - 1) / (2 * self.HALF))
        cell = np.clip(cell, 0, self.CELLS - 1.001)  # the table's border is out of every shadow's reach
        low = cell.astype(np.int32)
        return low, cell - low.astype(np.float32)

    def _polygon(self, corners: np.ndarray, border: float) -> np.ndarray:
        """The convex hull of points (K, 2) on the grid, blurred over the border: darkness (CELLS²,)."""
        per_metre = (self.CELLS - 1) / (2 * self.HALF)
        cells = ((corners + self.HALF) * per_metre).clip(-1000, 1000)
        table = np.zeros((self.CELLS, self.CELLS), dtype=np.float32)
        outline = cv2.convexHull(np.rint(cells[:, ::-1] * 16).astype(np.int32))  # cv2's x runs along the table's second axis
        cv2.fillConvexPoly(table, outline, 1.0, cv2.LINE_8, 4)
        return cv2.GaussianBlur(table, (0, 0), max(0.5, 0.5 * border * per_metre)).reshape(-1)


def _distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    # Coordinate by coordinate: numpy reduces an axis of length two slowly, and this runs for every solid of every scene.
    x, y = points[:, 0] - start[0], points[:, 1] - start[1]
    axis = end - start
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    x, y = x - along * axis[0], y - along * axis[1]
    return np.sqrt(x * x + y * y)
