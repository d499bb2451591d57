"""Bounds in a proxy's file: {"solids": [...], "box": [eight corners]}, under "source_bounds" and
"target_bounds".

A solid is a capsule, {"start": [x, y, z], "end": [x, y, z], "radius": r}, or a box, {"centre": [x,
y, z], "size": [x, y, z]} with "yaw" or "rotation" (`box_turn`). Without "box" it is the
axis-aligned box round the solids. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qnerf.scenes.box_turn import BOX_KEYS, parse_turn, turn_document
from qnerf.scenes.problems import as_array, quoted
from qnerf.scenes.solids import ROUNDING, Box, Capsule
from qnerf.scenes.world import World

if TYPE_CHECKING:
    from qnerf.scenes.scene import Bounds

CAPSULE_KEYS = {"start", "end", "radius"}


@dataclass(frozen=True)
class ReadBounds:
    """What a document says of bounds. corners: (8, 3) float64 of the box round all."""

    solids: tuple[Capsule | Box, ...]
    corners: np.ndarray


def bounds_document(bounds: Bounds, units: World) -> dict[str, Any]:
    """What `parse_bounds` reads back: corners and capsules bit by bit, boxes to rounding. units: what the
    bounds' coordinates are in."""
    corners = units.outward(bounds.corners.numpy()).tolist()
    return {"solids": [_solid_document(solid, units) for solid in bounds.solids], "box": corners}


def parse_bounds(where: str, value: Any, world: World, problems: list[str]) -> ReadBounds | None:
    """Bounds from their document; None where something is wrong: what, is added to problems. where: file and
    key. world: in whose coordinates they are given back."""
    entries = value.get("solids") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not entries:
        problems.append(f"{where} has no list 'solids', expected capsules and boxes that contain the object: add them.")
        return None
    found = len(problems)
    solids = [_parse_solid(f"{where}, solid {index}", entry, world, problems) for index, entry in enumerate(entries)]
    known = [solid for solid in solids if solid is not None]
    corners = value.get("box")
    given = None if corners is None else as_array(corners, (8, 3))
    inward = None if given is None else world.inward(given)
    box = inward if corners is not None else _box_round(known) if known else np.zeros((8, 3))
    if box is None:
        problems.append(f"{where} has a box that is not 8 x 3 finite numbers, expected its corners: correct it or remove it.")
    if box is None or len(problems) > found:
        return None
    return ReadBounds(tuple(known), box)


def _solid_document(solid: Capsule | Box, units: World) -> dict[str, Any]:
    if isinstance(solid, Capsule):
        start, end = (units.outward(point).tolist() for point in (solid.start, solid.end))
        return {"start": start, "end": end, "radius": float(solid.radius) * units.scale}
    centre, size = units.outward(solid.centre).tolist(), (2 * solid.half * units.scale).tolist()
    return {"centre": centre, "size": size, **turn_document(solid.turn)}


def _parse_solid(where: str, entry: Any, world: World, problems: list[str]) -> Capsule | Box | None:
    keys = set(entry) if isinstance(entry, dict) else set()
    if keys == CAPSULE_KEYS:
        start, end, radius = as_array(entry["start"], (3,)), as_array(entry["end"], (3,)), as_array(entry["radius"], ())
        if start is not None and end is not None and radius is not None and np.float32(radius) > 0:
            return Capsule(world.inward(start), world.inward(end), float(radius) / world.scale, "bound")
    if BOX_KEYS >= keys >= {"centre", "size"}:
        found = len(problems)
        centre, size, turn = (
            as_array(entry["centre"], (3,)),
            as_array(entry["size"], (3,)),
            parse_turn(f"{where} has", entry, problems),
        )
        if len(problems) > found:
            return None
        if centre is not None and size is not None and turn is not None and (size.astype(np.float32) > 0).all():
            size = size / world.scale
            return Box(world.inward(centre), size / 2, turn, ROUNDING * float(size.min()) / 2, "bound")
    problems.append(
        f"{where} is {quoted(entry)}, expected a capsule (start, end and a radius above 0) or a box (centre, a size above 0 and "
        "yaw or rotation), in finite numbers: correct it."
    )
    return None


def _box_round(solids: list[Capsule | Box]) -> np.ndarray:
    """The corners (8, 3) of the axis-aligned box, corner k at the high end of axis a where bit a of k is set."""
    ends = np.concatenate([points + sign * radius for points, radius in (solid.hull() for solid in solids) for sign in (-1, 1)])
    low, high = ends.min(axis=0), ends.max(axis=0)
    return np.array([[(high if corner & 1 << axis else low)[axis] for axis in range(3)] for corner in range(8)])
