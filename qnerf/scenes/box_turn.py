"""How a box of a proxy's file is turned: "yaw", degrees about z, or "rotation", a 3 x 3 matrix
whose columns are the box's axes. Needs no torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from qnerf.scenes.problems import as_array, quoted

BOX_KEYS = {"centre", "size", "yaw", "rotation"}
SQUARE = 1e-2  # by how much the scalar product of two of a box's axes may be beside 0, and of one with itself beside 1


def turned(yaw: float) -> np.ndarray:
    """The rotation (3, 3) by yaw, degrees about z."""
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def turn_document(turn: np.ndarray) -> dict[str, Any]:
    """The key that `parse_turn` reads back: yaw where a rotation (3, 3) is about z alone, else rotation."""
    if abs(turn[2, 2] - 1) < 1e-12:  # the others of its row and column are below 1.5e-6
        return {"yaw": math.degrees(math.atan2(turn[1, 0], turn[0, 0]))}
    return {"rotation": turn.tolist()}


def parse_turn(where: str, box: dict[str, Any], problems: list[str]) -> np.ndarray | None:
    """The rotation (3, 3) of a box's document, none if it has neither key; None with a problem,
    which is added. where: file and key."""
    if "rotation" not in box:
        yaw = as_array(box.get("yaw", 0.0), ())
        if yaw is None:
            problems.append(f"{where} yaw = {quoted(box['yaw'])}, expected degrees: give a finite number.")
        return None if yaw is None else turned(float(yaw))
    if "yaw" in box:
        problems.append(f"{where} yaw and rotation, expected one of them: remove yaw, and keep the rotation.")
        return None
    matrix = as_array(box["rotation"], (3, 3))
    turn = None if matrix is None else _nearest_rotation(matrix)
    if turn is None:
        problems.append(
            f"{where} rotation = {quoted(box['rotation'])}, expected 3 x 3 numbers whose columns are the box's axes, of length 1, "
            "square to each other and right-handed: correct it."
        )
    return turn


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray | None:
    """None where a matrix (3, 3) is none within `SQUARE`, or mirrors."""
    if np.abs(matrix.T @ matrix - np.eye(3)).max() > SQUARE or np.linalg.det(matrix) < 0:
        return None
    left, _, right = np.linalg.svd(matrix)
    return left @ right
