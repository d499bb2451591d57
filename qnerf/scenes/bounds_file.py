"""Bounds in a proxy's file: {"solids": [...], "box": [eight corners]}, under "source_bounds" and "target_bounds".

A solid is a capsule, {"start": [x, y, z], "end": [x, y, z], "radius": r}, or a box, {"centre": [x, y, z], "size": [x, y, z],
"yaw": degrees about z}. Without "box" it is the axis-aligned box round the solids.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from qnerf.scenes.bounds import ROUNDING, bounding_box
from qnerf.scenes.scene import Bounds
from qnerf.scenes.solids import Box, Capsule

CAPSULE_KEYS, BOX_KEYS = {"start", "end", "radius"}, {"centre", "size", "yaw"}


def bounds_document(bounds: Bounds) -> dict[str, Any]:
    """What `parse_bounds` reads back: corners and capsules bit by bit, boxes to rounding."""
    return {"solids": [_solid_document(solid) for solid in bounds.solids], "box": bounds.corners.tolist()}


def parse_bounds(where: str, value: Any, problems: list[str]) -> Bounds | None:
    """Bounds from their document; None where something is wrong: what, is added to problems. where: file and key."""
    entries = value.get("solids") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries:
        problems.append(f"{where} has no list 'solids', expected capsules and boxes that contain the object: add them.")
        return None
    found = len(problems)
    solids = [_parse_solid(f"{where}, solid {index}", entry, problems) for index, entry in enumerate(entries)]
    known = [solid for solid in solids if solid is not None]
    corners = value.get("box")
    box = _numbers(corners, (8, 3)) if corners is not None else _box_round(known) if known else np.zeros((8, 3))
    if box is None:
        problems.append(f"{where} has a box that is not 8 x 3 finite numbers, expected its corners: correct it or remove it.")
    if box is None or len(problems) > found:
        return None
    return Bounds(tuple(known), torch.from_numpy(box).float())


def _solid_document(solid: Capsule | Box) -> dict[str, Any]:
    if isinstance(solid, Capsule):
        return {"start": solid.start.tolist(), "end": solid.end.tolist(), "radius": float(solid.radius)}
    yaw = math.degrees(math.atan2(solid.turn[1, 0], solid.turn[0, 0]))
    return {"centre": solid.centre.tolist(), "size": (2 * solid.half).tolist(), "yaw": yaw}


def _parse_solid(where: str, entry: Any, problems: list[str]) -> Capsule | Box | None:
    keys = set(entry) if isinstance(entry, dict) else set()
    if keys == CAPSULE_KEYS:
        start, end, radius = _numbers(entry["start"], (3,)), _numbers(entry["end"], (3,)), _numbers(entry["radius"], ())
        if start is not None and end is not None and radius is not None and radius > 0:
            return Capsule(start, end, float(radius), "bound")
    if BOX_KEYS >= keys >= {"centre", "size"}:
        centre, size, yaw = _numbers(entry["centre"], (3,)), _numbers(entry["size"], (3,)), _numbers(entry.get("yaw", 0), ())
        if centre is not None and size is not None and yaw is not None and (size > 0).all():
            cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
            turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
            return Box(centre, size / 2, turn, ROUNDING * float(size.min()) / 2, "bound")
    problems.append(
        f"{where} is {entry!r}, expected a capsule (start, end and a radius above 0) or a box (centre, a size above 0 and "
        "yaw), in finite numbers: correct it."
    )
    return None


def _box_round(solids: list[Capsule | Box]) -> np.ndarray:
    ends = [points + sign * radius for points, radius in (solid.hull() for solid in solids) for sign in (-1, 1)]
    return bounding_box(torch.from_numpy(np.concatenate(ends))).numpy()


def _numbers(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """An array of this shape, None where the value is anything else or not finite."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None
