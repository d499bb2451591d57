"""The proxy's file: a skeleton's joints or a box, before and after the edit.

A skeleton: {"kind": "skeleton", "joints": [names], "bones": [[a, b], ...], "source": [[x, y, z],
...], "target": …}. It may have "keeps_direction": [names of joints]: what is at them moves with
them and does not turn, such as a head that goes on looking ahead. A box: {"kind": "box", "source":
{"centre": [x, y, z], "size": [x, y, z], "yaw": degrees about z}, "target": {...}}, with "rotation"
in place of "yaw" (`box_turn`), or its eight corners in the order of `box_corners`. Either may have
"source_bounds" and "target_bounds" (`bounds_file`), and "world", the version of the world that made
it. Needs no torch: a run's proxy is checked before that is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.common.messages import nearest
from qnerf.errors import UserError
from qnerf.scenes.bounds_file import ReadBounds, parse_bounds
from qnerf.scenes.box_turn import BOX_KEYS, SQUARE, parse_turn
from qnerf.scenes.images import read_json
from qnerf.scenes.problems import FARTHEST, as_array, check_world, quoted, raise_problems
from qnerf.scenes.world import UNMOVED, World

BOX_CORNERS = tuple(f"corner_{index}" for index in range(8))
KEYS = {"kind", "joints", "bones", "source", "target", "keeps_direction", "source_bounds", "target_bounds", "world", "$schema"}
SHORTEST = 1e-6  # of the widest spread of all joints: a bone that is no longer has no direction
SKEW = 1e-3  # of a box's longest edge: how far its corners may lie from where three of its edges lead


@dataclass(frozen=True)
class Sides:
    """A box by its centre (3,), its edge lengths (3,) and its axes, the columns of the rotation
    turn (3, 3)."""

    centre: np.ndarray
    size: np.ndarray
    turn: np.ndarray


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
    if not isinstance(document, dict):
        given = {list: "a list", str: "text"}.get(type(document), quoted(document))
        raise UserError(
            f'{path} is {given}, expected an object, {{"kind": …, "source": …, "target": …}}: write one (docs/proxy.md).'
        )
    kind = document.get("kind")
    if kind not in ("skeleton", "box"):
        was = "no kind" if "kind" not in document else f"kind = {quoted(kind)}"
        raise UserError(f"{path} has {was}, expected 'skeleton' or 'box': write one of them.")
    problems = _unknown_keys(path, document)
    problems += [
        f"{path} has no '{key}', expected the proxy's positions {when} the edit: add it."
        for key, when in (("source", "before"), ("target", "after"))
        if document.get(key) is None
    ]
    if any(document.get(key) is None for key in ("source", "target")):
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


def moves_nothing(proxy: ProxyFile) -> bool:
    """Whether a proxy is the same before and after the edit, with its bounds where it has some."""
    before, after = (_corners(read) if isinstance(read, Sides) else read for read in (proxy.source, proxy.target))
    bounds = proxy.source_bounds, proxy.target_bounds
    if bounds[0] is not None and bounds[1] is not None and not np.array_equal(bounds[0].corners, bounds[1].corners):
        return False
    return np.allclose(before, after, rtol=0, atol=1e-6 * float(np.ptp(before, axis=0).max()))


def still_sentence(path: Path) -> str:
    """What is to be said of a proxy that moves nothing."""
    return (
        f"{path} has the same source and target: nothing moves, and the prompts alone change the views; if something "
        "is to move, give 'target' the positions after the edit"
    )


def _unknown_keys(path: Path, document: dict[str, Any]) -> list[str]:
    """A sentence for each key that the reader would pass over."""
    found = []
    for key in (key for key in document if key not in KEYS):
        close = nearest(key, KEYS)
        hint = f"write {close} if that is meant, or remove it" if close else "remove it"
        found.append(f"{path} has the key {quoted(key)}, expected keys out of {', '.join(sorted(KEYS))}: {hint}.")
    return found


def _parse_skeleton(path: Path, document: dict[str, Any], world: World, problems: list[str]) -> ProxyFile:
    joints, bones = document.get("joints"), document.get("bones")
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        problems.append(f"{path} has joints = {quoted(joints)}, expected a list of names: give each joint one.")
        joints = []
    elif len(set(joints)) < len(joints):
        twice = next(joint for joint in joints if joints.count(joint) > 1)
        problems.append(f"{path} has two joints named {quoted(twice)}, expected a name each: rename one.")
    bones = _parse_bones(path, bones, len(joints), problems)
    states = ("source", "target") if joints else ()
    points = {key: _parse_points(path, key, document[key], joints, world, problems) for key in states}
    if not problems:
        problems += _without_length(path, joints, bones, points.get("source", np.ones((0, 3))))
    keeps = document.get("keeps_direction", [])
    if not isinstance(keeps, list) or not all(isinstance(joint, str) and joint in joints for joint in keeps):
        problems.append(f"{path} has keeps_direction = {quoted(keeps)}, expected a list of names out of joints: correct it.")
        keeps = []
    indices = tuple(joints.index(joint) for joint in dict.fromkeys(keeps))
    source, target = (points.get(key, np.ones((0, 3))) for key in ("source", "target"))
    return ProxyFile("skeleton", tuple(joints), bones, source, target, keeps_direction=indices)


def _parse_bones(path: Path, bones: Any, joints: int, problems: list[str]) -> tuple[tuple[int, int], ...]:
    wanted = f"pairs of different indices of joints, 0 to {joints - 1}"
    if not isinstance(bones, list):
        problems.append(f"{path} has bones = {quoted(bones)}, expected {wanted}: correct it.")
        return ()
    bad = [bone for bone in bones if not _is_bone(bone, joints)]
    if bad:
        problems.append(f"{path} has the bone {quoted(bad[0])}, expected {wanted}: correct it.")
        return ()
    twice = [bone for index, bone in enumerate(bones) if set(bone) in map(set, bones[:index])]
    if twice:
        problems.append(f"{path} has the bone {quoted(twice[0])} twice, expected each once: remove one.")
    return tuple((a, b) for a, b in bones)


def _without_length(path: Path, joints: Sequence[str], bones: Sequence[tuple[int, int]], places: np.ndarray) -> list[str]:
    """Bones whose two joints are one point of the source: they have no direction to be turned from."""
    return [
        f"{path}: the bone from {quoted(joints[a])} to {quoted(joints[b])} has no length in source, "
        "expected its joints in two places: move one, or remove the bone."
        for a, b in bones
        if np.linalg.norm(places[a] - places[b]) <= SHORTEST * np.ptp(places, axis=0).max()
    ]


def _is_bone(bone: Any, joints: int) -> bool:
    pair = isinstance(bone, list) and len(bone) == 2
    return pair and all(type(end) is int and 0 <= end < joints for end in bone) and bone[0] != bone[1]


def _parse_box(path: Path, document: dict[str, Any], world: World, problems: list[str]) -> ProxyFile:
    corners: dict[str, np.ndarray | Sides] = {}
    for key in ("source", "target"):
        value = document[key]
        if isinstance(value, list):
            before = len(problems)
            corners[key] = points = _parse_points(path, key, value, BOX_CORNERS, world, problems)
            problems += [] if len(problems) > before else _corner_problems(path, key, points)
            continue
        if not isinstance(value, dict) or not BOX_KEYS >= value.keys() >= {"centre", "size"}:
            found = sorted(value) if isinstance(value, dict) else value
            problems.append(
                f"{path} has {key} = {quoted(found)}, expected the keys centre and size, and yaw or rotation: give these."
            )
            continue
        corners[key] = _parse_sides(path, key, value, world, problems)
    empty = np.zeros((8, 3))
    source, target = corners.get("source", empty), corners.get("target", empty)
    if not problems and _volume(source) * _volume(target) < 0:
        problems.append(
            f"{path} has corners in one order in source and mirrored in target, expected each corner at the same "
            "place of both: give corner 0 and its neighbours along x, y and z as 0, 1, 2 and 4 in both."
        )
    return ProxyFile("box", BOX_CORNERS, (), source, target)


def _corner_problems(path: Path, key: str, corners: np.ndarray) -> list[str]:
    """What is wrong with the order of a box's corners (8, 3): corner k is corner 0, moved along the edges whose
    bits are set in k."""
    edges = corners[[1, 2, 4]] - corners[0]
    bits = np.array([[k >> axis & 1 for axis in range(3)] for k in range(8)])
    away = np.linalg.norm(corners - (corners[0] + bits @ edges), axis=-1)
    lengths = np.linalg.norm(edges, axis=-1)
    if away.max() <= SKEW * lengths.max() and abs(_volume(corners)) > SKEW * lengths.prod():
        axes = edges / lengths[:, None]
        if np.abs(axes @ axes.T - np.eye(3)).max() <= SQUARE:
            return []
        return [
            f"{path} has {key} corners whose edges are not square to each other, expected a box: make its edges from corner 0 to "
            "corners 1, 2 and 4 square, or give centre, size and rotation."
        ]
    return [
        f"{path} has {key} corners that make no box in their order (corner {int(away.argmax())} is elsewhere), "
        "expected corner k at the high end of axis a where bit a of k is set: order them so, or give centre, size "
        "and rotation."
    ]


def _volume(box: np.ndarray | Sides) -> float:
    """Of a box; negative where its corners (8, 3) are mirrored."""
    return float(box.size.prod() if isinstance(box, Sides) else np.linalg.det(box[[1, 2, 4]] - box[0]))


def _corners(box: Sides) -> np.ndarray:
    """(8, 3), as `proxies.box_corners`."""
    bits = np.array([[k >> axis & 1 for axis in range(3)] for k in range(8)])
    return ((bits - 0.5) * box.size) @ box.turn.T + box.centre


def _parse_sides(path: Path, key: str, box: dict[str, Any], world: World, problems: list[str]) -> Sides:
    centre, size = (as_array(box[side], (3,)) for side in ("centre", "size"))
    turn = parse_turn(f"{path} has {key}", box, problems)
    if centre is None:
        problems.append(
            f"{path} has {key} centre = {quoted(box['centre'])}, expected three numbers of up to {FARTHEST:g}: correct it."
        )
    if size is None or not (size.astype(np.float32) > 0).all():  # of which scenes are made
        problems.append(
            f"{path} has {key} size = {quoted(box['size'])}, expected three lengths above 0 and up to {FARTHEST:g}: correct it."
        )
    if centre is None or size is None or turn is None:
        return Sides(np.zeros(3), np.ones(3), np.eye(3))
    return Sides(world.inward(centre), size / world.scale, turn)


def _parse_points(path: Path, key: str, value: Any, names: Sequence[str], world: World, problems: list[str]) -> np.ndarray:
    """World positions (J, 3), one for each of J names; ones with a problem."""
    empty, what = np.ones((len(names), 3)), "corner" if names is BOX_CORNERS else "joint"
    if not isinstance(value, list) or len(value) != len(names):
        found = f"{len(value)} points" if isinstance(value, list) else quoted(value)
        problems.append(f"{path} has {key} = {found}, expected a list of {len(names)}, [x, y, z] for each {what}: give these.")
        return empty
    bad = [(name, point) for name, point in zip(names, value, strict=True) if as_array(point, (3,)) is None]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        wanted = f"three finite numbers of up to {FARTHEST:g}"
        problems.append(f"{path} has {key} of {bad[0][0]} = {quoted(bad[0][1])}{more}, expected {wanted}: correct it.")
        return empty
    return world.inward(np.array(value, dtype=np.float64))
