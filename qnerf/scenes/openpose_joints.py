"""The 18 joints of OpenPose, and their names in the skeletons that people have. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

JOINTS = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
FACE = (0, 14, 15, 16, 17)
"""Nose, eyes and ears. A skeleton without them has them drawn round its head."""

SKELETONS = "COCO-17, COCO-18, BODY_25, SMPL-22, Mixamo or the demo scene's"
_MIXAMO = {"shoulder": "arm", "elbow": "forearm", "wrist": "hand", "hip": "upleg", "knee": "leg", "ankle": "foot"}
_DEMO = {"wrist": "hand", "ankle": "foot"}


def openpose_joints(names: Sequence[str]) -> dict[int, tuple[int, ...]]:
    """For each of OpenPose's joints that a skeleton has, the skeleton's joints whose mean it is.

    The neck of COCO's 17 is the middle of the shoulders. Raises no error: what is missing is for `missing_joints` to say.
    """
    places: dict[str, int] = {}
    for index, name in enumerate(names):
        places.setdefault(_plain(name), index)
    mixamo = "leftforearm" in places or "rightforearm" in places
    found: dict[int, tuple[int, ...]] = {}
    for joint, name in enumerate(JOINTS):
        spelt = next((spelling for spelling in _spellings(name, mixamo) if spelling in places), None)
        if spelt is not None:
            found[joint] = (places[spelt],)
    if 1 not in found and 2 in found and 5 in found:
        found[1] = (*found[2], *found[5])
    return found


def head_joint(names: Sequence[str]) -> int | None:
    """A skeleton's joint in the middle of the head, or none."""
    return next((index for index, name in enumerate(names) if _plain(name) == "head"), None)


def missing_joints(names: Sequence[str]) -> list[str]:
    """OpenPose's joints of the body that a skeleton lacks. Those of the face need not be there."""
    found = openpose_joints(names)
    return [name for joint, name in enumerate(JOINTS) if joint not in found and joint not in FACE]


def missing_sentence(where: str, kind: str, names: Sequence[str]) -> str | None:
    """Why a proxy cannot be drawn as OpenPose does, or None. where: its file."""
    if kind != "skeleton":
        return (
            f"{where} is a {kind}, which has no joints to draw for an OpenPose ControlNet: give a skeleton in scene.proxy, or a "
            "ControlNet for depth"
        )
    missing = missing_joints(names)
    if not missing:
        return None
    return (
        f"{where} has no joints {', '.join(missing)}, which OpenPose draws: name its joints as {SKELETONS} skeleton does, or "
        "give a ControlNet for depth"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("mixamorig"))


def _spellings(name: str, mixamo: bool) -> tuple[str, ...]:
    """How skeletons spell one of OpenPose's names."""
    side, _, part = name.rpartition("_")
    if not side:
        return (part,)
    if mixamo and part in _MIXAMO:
        return (side + _MIXAMO[part],)
    demo = _DEMO.get(part, part)
    return (side + part, side[0] + part, demo + side[0], part + side[0])
