"""What every kind of object of the world can say about itself, before and after its edit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np

from qnerf.scenes.solids import Box, Capsule, Solid

Names = tuple[str, ...]
Pairs = tuple[tuple[int, int], ...]
Point = tuple[float, float, float]

BOUND = "bound"  # the part of solids that only bound an object
UP = np.array([0.0, 0.0, 1.0])
MARGIN = 0.04  # metres that bounds leave round the thickest object of their kind


class Shape(Protocol):
    """An object in two states; world units are metres, z is up, the object stands on the floor at the origin.

    JOINTS: names of the proxy's points. BONES: pairs of their indices. KEEPS_DIRECTION: names of joints; what is at these goes
    along and does not turn. PARTS: the parts whose colours captions name.
    FOCUS: the point (3,) that cameras look at. DISTANCE: of cameras that see all of it, metres. heading: turn about z.
    """

    JOINTS: ClassVar[Names]
    BONES: ClassVar[Pairs]
    KEEPS_DIRECTION: ClassVar[Names]
    PARTS: ClassVar[Names]
    FOCUS: ClassVar[Point]
    DISTANCE: ClassVar[float]

    @property
    def heading(self) -> float: ...

    def nouns(self) -> Names:
        """The nouns that a caption may call it by."""
        ...

    def joints(self, edited: bool = False) -> np.ndarray:
        """(J, 3) positions of the joints."""
        ...

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        """What is drawn: as many solids, in the same order, before and after the edit."""
        ...

    def bounds(self, edited: bool = False) -> Sequence[Capsule | Box]:
        """Few inflated solids that contain the object and leave open what a loose control leaves open."""
        ...


def turn_about_z(angle: float) -> np.ndarray:
    """The rotation (3, 3) by an angle in radians; points (P, 3) are turned by `points @ turn.T`."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def capsule_round(points: np.ndarray, radius: float) -> Capsule:
    """The capsule from the first of points (K, 3) to the last that contains balls of this radius about all of them.

    Where the middle point of a bent limb lies on its side, the capsule does not say.
    """
    start, axis = points[0], points[-1] - points[0]
    along = np.clip((points - start) @ axis / max(float(axis @ axis), 1e-9), 0, 1)
    gap = np.linalg.norm(points - start - along[:, None] * axis, axis=1).max()
    return Capsule(start, points[-1], float(gap) + radius, BOUND)


def box_round(solids: Sequence[Solid], heading: float) -> np.ndarray:
    """Corners (8, 3) of the box, turned by heading about z, round solids; corner k is high on axis a where bit a of k is set."""
    turn = turn_about_z(heading)
    hulls = [(points @ turn, radius) for points, radius in (solid.hull() for solid in solids)]
    ends = np.stack([
        np.min([points.min(axis=0) - radius for points, radius in hulls], axis=0),
        np.max([points.max(axis=0) + radius for points, radius in hulls], axis=0),
    ])  # fmt: skip
    ends[:, 2] = ends[:, 2].clip(min=0.0)  # nothing is below the floor
    corners = [[ends[corner >> axis & 1, axis] for axis in range(3)] for corner in range(8)]
    return np.array(corners) @ turn.T
