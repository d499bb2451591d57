"""A scene's own units and the world's: far from the origin, and at sizes far from 1, float32 does not tell
points apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MOST_SIZES = 256.0  # of the scene's radius: farther from the origin, a scene is moved to it
MOST_SCALE = 64.0  # a radius beyond it, or below its reciprocal, is scaled to 1 … 2


@dataclass(frozen=True)
class World:
    """The world's point p has the scene's coordinates (p - offset) / scale. scale: a power of two, so that it
    rounds nothing."""

    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0

    @property
    def same(self) -> bool:
        """Whether the scene's coordinates are the world's."""
        return self == UNMOVED

    @property
    def zero(self) -> float:
        """The z of the world's own plane z = 0 in the scene's coordinates."""
        return 0.0 if self.same else -self.offset[2] / self.scale

    def inward(self, points: np.ndarray) -> np.ndarray:
        """The world's points (..., 3) float64 in the scene's coordinates."""
        return points if self.same else (points - np.array(self.offset)) / self.scale

    def outward(self, points: np.ndarray) -> np.ndarray:
        """The scene's points (..., 3) in the world's coordinates, float64."""
        points = np.asarray(points, dtype=np.float64)
        return points if self.same else points * self.scale + np.array(self.offset)

    def poses(self, poses: np.ndarray) -> np.ndarray:
        """The world's poses (N, 4, 4) camera to world in the scene's coordinates."""
        moved = poses.copy()
        moved[:, :3, 3] = self.inward(poses[:, :3, 3])
        return moved


UNMOVED = World()


def world_of(focus: np.ndarray, radius: float, poses: np.ndarray) -> World:
    """The scene's coordinates: the world's own, unless they are far from the origin or far too large or
    small. Float64 throughout."""
    far = max(np.abs(focus).max(), np.abs(poses[:, :3, 3]).max())
    offset = tuple(focus.tolist()) if far > MOST_SIZES * radius and np.abs(focus).max() > radius else (0.0, 0.0, 0.0)
    scale = 1.0 if 1 / MOST_SCALE <= radius <= MOST_SCALE else 2.0 ** math.floor(math.log2(radius))
    return World(offset, scale)
