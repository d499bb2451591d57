"""The proxy's file: a skeleton's joints or a box, before and after the edit.

A skeleton: {"kind": "skeleton", "joints": [names], "bones": [[a, b], ...], "source": [[x, y, z], ...],
"target": …}. It may have "keeps_direction": [names of joints]: what is at them moves with them and does not
turn, such as a head that goes on looking ahead. A box: {"kind": "box", "source": {"centre": [x, y, z], "size":
[x, y, z], "yaw": degrees about z}, "target": {...}}, or its eight corners in the order of `box_corners`. Either
may have "source_bounds" and "target_bounds" (`bounds_file`), and "world", the version of the world that made it.
Needs no torch: a run's proxy is checked before that is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.bounds_file import ReadBounds, parse_bounds
from qnerf.scenes.images import read_json
from qnerf.scenes.problems import FARTHEST, as_array, check_world, quoted, raise_problems
from qnerf.scenes.world import UNMOVED, World

BOX_CORNERS = tuple(f"corner_{index}" for index in range(8))
BOX_KEYS = {"centre", "size", "yaw"}


@dataclass(frozen=True)
class Sides:
    """A box by its centre (3,), its edge lengths (3,) and its turn about z, degrees."""

    centre: np.ndarray
    size: np.ndarray
    yaw: float


@dataclass(frozen=True)
class ProxyFile:
    """What a proxy's file says: `scene.Proxy` in float64, of a box its eight corners or its sides, and no bones."""

    kind: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    source: np.ndarray | Sides
    target: np.ndarray | Sides
    source_bounds: ReadBounds | None = None
    target_bounds: ReadBounds | None = None
    keeps_direction: tuple[int, ...] = ()


def read_proxy_file(path: Path, world: World = UNMOVED) -> ProxyFile:
    """A skeleton or a box from its file; one UserError names everything that is wrong with it. world: in
    whose coordinates it is given back."""
    document = read_json(path)
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in ("skeleton", "box"):
        raise UserError(f"{path} has kind = {quoted(kind)}, expected 'skeleton' or 'box': write one of them.")
    problems = [
        f"{path} has no '{key}', expected the proxy's positions {when} the edit: add it."
        for key, when in (("source", "before"), ("target", "after"))
        if document.get(key) is None
    ]
    raise_problems(str(path), problems)
    check_world(path, document, problems)
    found = (_parse_skeleton if kind == "skeleton" else _parse_box)(path, document, world, problems)
    given = [key for key in ("source_bounds", "target_bounds") if key in document]
    bounds = {key: parse_bounds(f"{path}: {key}", document[key], world, problems) for key in given}
    if len(bounds) == 1:
        problems.append(f"{path} has only one of source_bounds and target_bounds, expected both or none: add the other.")
    counts = [len(each.solids) for each in bounds.values() if each is not None]
    if len(set(counts)) > 1:
        both = f"{counts[0]} solids in source_bounds and {counts[1]} in target_bounds"
        problems.append(f"{path} has {both}, expected as many in both: give both states the same solids.")
    raise_problems(str(path), problems)
    return replace(found, **bounds)


def _parse_skeleton(path: Path, document: dict[str, Any], world: World, problems: list[str]) -> ProxyFile:
    joints, bones = document.get("joints"), document.get("bones")
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        problems.append(f"{path} has joints = {quoted(joints)}, expected a list of names: give each joint one.")
        joints = []
    elif len(set(joints)) < len(joints):
        twice = next(joint for joint in joints if joints.count(joint) > 1)
        problems.append(f"{path} has two joints named {quoted(twice)}, expected a name each: rename one.")
    if not isinstance(bones, list) or not all(_is_bone(bone, len(joints)) for bone in bones):
        problems.append(f"{path} has bones that are not pairs of joint indices below {len(joints)}: correct them.")
        bones = []
    points = {key: _parse_points(path, key, document[key], len(joints), world, problems) for key in ("source", "target")}
    keeps = document.get("keeps_direction", [])
    if not isinstance(keeps, list) or not all(isinstance(joint, str) and joint in joints for joint in keeps):
        problems.append(f"{path} has keeps_direction = {quoted(keeps)}, expected a list of names out of joints: correct it.")
        keeps = []
    indices = tuple(joints.index(joint) for joint in dict.fromkeys(keeps))
    pairs = tuple((a, b) for a, b in bones)
    return ProxyFile("skeleton", tuple(joints), pairs, points["source"], points["target"], keeps_direction=indices)


def _is_bone(bone: Any, joints: int) -> bool:
    pair = isinstance(bone, list) and len(bone) == 2
    return pair and all(type(end) is int and 0 <= end < joints for end in bone)


def _parse_box(path: Path, document: dict[str, Any], world: World, problems: list[str]) -> ProxyFile:
    corners: dict[str, np.ndarray | Sides] = {}
    for key in ("source", "target"):
        value = document[key]
        if isinstance(value, list):
            corners[key] = _parse_points(path, key, value, 8, world, problems)
            continue
        if not isinstance(value, dict) or not BOX_KEYS >= value.keys() >= {"centre", "size"}:
            found = sorted(value) if isinstance(value, dict) else value
            problems.append(f"{path} has {key} = {quoted(found)}, expected the keys centre, size and yaw: give these.")
            continue
        corners[key] = _parse_sides(path, key, value, world, problems)
    empty = np.zeros((8, 3))
    return ProxyFile("box", BOX_CORNERS, (), corners.get("source", empty), corners.get("target", empty))


def _parse_sides(path: Path, key: str, box: dict[str, Any], world: World, problems: list[str]) -> Sides:
    centre, size = (as_array(box[side], (3,)) for side in ("centre", "size"))
    yaw = as_array(box.get("yaw", 0.0), ())
    if yaw is None or isinstance(box.get("yaw"), bool | str):
        problems.append(f"{path} has {key} yaw = {quoted(box['yaw'])}, expected degrees: give a finite number.")
    if centre is None:
        problems.append(
            f"{path} has {key} centre = {quoted(box['centre'])}, expected three numbers of up to {FARTHEST:g}: correct it."
        )
    if size is None or not (size > 0).all():
        problems.append(
            f"{path} has {key} size = {quoted(box['size'])}, expected three lengths above 0 and up to {FARTHEST:g}: correct it."
        )
    if centre is None or size is None or yaw is None:
        return Sides(np.zeros(3), np.ones(3), 0.0)
    return Sides(world.inward(centre), size / world.scale, float(yaw))


def _parse_points(path: Path, key: str, value: Any, count: int, world: World, problems: list[str]) -> np.ndarray:
    try:
        points = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        points = np.empty(0)
    if points.shape != (count, 3):
        found = " x ".join(str(side) for side in points.shape)
        problems.append(f"{path} has {key} of shape {found}, expected {count} x 3 numbers: give one point a joint.")
        return np.ones((count, 3))
    if not np.isfinite(points).all():
        problems.append(f"{path} has NaN or infinity in its {key}, expected world positions: correct them.")
    elif np.abs(points).max() > FARTHEST:
        problems.append(f"{path} has {np.abs(points).max():.3g} in its {key}, expected at most {FARTHEST:g}: correct it.")
    return world.inward(points)
