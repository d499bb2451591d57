"""2-D keypoints of photographs, as OpenPose and COCO's annotations write them. Needs no torch.

OpenPose: a file for each photograph, `<view>_keypoints.json` or `<view>.json`, with `people`, each
with `pose_keypoints_2d`: x, y, confidence of 18 (COCO) or 25 (BODY_25) joints. COCO: one file with
`images`, `annotations` (`keypoints`: x, y, and visibility or a confidence below 1) and `categories`
that names the joints (`keypoints`, `skeleton`). Of several people, the one with the largest sum of
confidences counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.images import read_json
from qnerf.scenes.openpose_joints import JOINTS
from qnerf.scenes.problems import brief, raise_problems

BODY_25 = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist", "mid_hip"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear", "left_big_toe", "left_small_toe", "left_heel"),
    *("right_big_toe", "right_small_toe", "right_heel"),
)
COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
LIMBS = (
    *(("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist")),
    *(("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("neck", "nose")),
    *(("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    *(("nose", "right_eye"), ("right_eye", "right_ear"), ("nose", "left_eye"), ("left_eye", "left_ear")),
    *(("right_ankle", "right_heel"), ("left_ankle", "left_heel")),
    *(("right_ankle", "right_big_toe"), ("left_ankle", "left_big_toe")),
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
    *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
)
_TRUNK = LIMBS[-4:]  # of skeletons without a neck
LENGTHS = {3 * len(JOINTS): JOINTS, 3 * len(BODY_25): BODY_25, 3 * len(COCO_17): COCO_17}


@dataclass(frozen=True)
class Keypoints:
    """joints: J names. bones: pairs of joint indices. views: by the photograph's name without extension, (J,
    3): x and y in pixels of the photograph, confidence, 0 where a joint was not found. sizes: by view, of the
    image that the pixels belong to, where that is known."""

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    views: dict[str, np.ndarray]
    sizes: dict[str, tuple[float, float]]


def read_keypoints(folder: Path) -> Keypoints:
    """The keypoints of a folder, or of one file. Raises one UserError that names every file that is wrong."""
    paths = [folder] if folder.is_file() else sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not paths:
        raise UserError(f"{folder} has no JSON files, expected OpenPose's or COCO's keypoints: give their folder.")
    problems: list[str] = []
    found: Keypoints | None = None
    for path in paths:
        document = read_json(path)
        parse = _coco if isinstance(document, dict) and "annotations" in document else _openpose
        part = parse(path, document, problems)
        if part is None:
            continue
        if found is not None and part.joints != found.joints:
            problems.append(f"{path} has {len(part.joints)} joints, other files {len(found.joints)}, expected the same in all.")
            continue
        found = part if found is None else replace(found, views={**found.views, **part.views}, sizes={**found.sizes, **part.sizes})
    raise_problems(str(folder), problems)
    if found is None or not found.views:
        raise UserError(f"{folder} has keypoints of nobody, expected a person in two photographs at least: detect them again.")
    return found


def _openpose(path: Path, document: Any, problems: list[str]) -> Keypoints | None:
    people = document.get("people") if isinstance(document, dict) else None
    if not isinstance(people, list):
        problems.append(f"{path} has neither 'people' (OpenPose) nor 'annotations' (COCO): give files of one of these.")
        return None
    values = [person.get("pose_keypoints_2d") if isinstance(person, dict) else None for person in people]
    rows = [_triples(path, value, problems) for value in values]
    known = [row for row in rows if row is not None]
    if not known:
        return None  # nobody is in this photograph
    best = max(known, key=lambda row: row[:, 2].sum())
    joints = LENGTHS.get(best.size)
    if joints is None:
        sizes = ", ".join(str(size // 3) for size in LENGTHS)
        problems.append(f"{path} has {len(best)} joints, expected {sizes}: choose one of these models.")
        return None
    return Keypoints(joints, limbs_of(joints), {path.stem.removesuffix("_keypoints"): best}, {})


def _coco(path: Path, document: dict[str, Any], problems: list[str]) -> Keypoints | None:
    images = {entry["id"]: entry for entry in _dicts(document.get("images")) if isinstance(entry.get("id"), int | str)}
    category = next((entry for entry in _dicts(document.get("categories")) if entry.get("keypoints")), {})
    names = category.get("keypoints") or COCO_17
    joints = tuple(name for name in names if isinstance(name, str)) if isinstance(names, list | tuple) else ()
    if not joints or len(set(joints)) < len(names):
        problems.append(f"{path} has categories without names of its joints, expected one each: correct 'keypoints'.")
        return None
    views: dict[str, np.ndarray] = {}
    sizes: dict[str, tuple[float, float]] = {}
    for entry in _dicts(document["annotations"]):
        number = entry.get("image_id")
        image = images.get(number) if isinstance(number, int | str) else None
        row = _triples(path, entry.get("keypoints"), problems)
        if row is None:
            continue
        if image is None or not isinstance(image.get("file_name"), str) or len(row) != len(joints):
            problems.append(f"{path} has an annotation of no image in it, or of other than {len(joints)} joints: correct it.")
            continue
        row[:, 2] = row[:, 2].clip(
            0, 1
        )  # COCO's 1 is hidden and 2 visible: both are where an annotator saw them; below, a confidence
        name = PurePosixPath(image["file_name"].replace("\\", "/")).stem
        if name not in views or row[:, 2].sum() > views[name][:, 2].sum():
            views[name] = row
            if all(isinstance(image.get(side), int | float) and image[side] > 0 for side in ("width", "height")):
                sizes[name] = (float(image["width"]), float(image["height"]))
    bones = [(a - 1, b - 1) for a, b in _pairs(category.get("skeleton")) if min(a, b) > 0 and max(a, b) <= len(joints)]
    return Keypoints(joints, tuple(bones) or limbs_of(joints), views, sizes)


def limbs_of(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The bones between joints of these names, as pairs of indices."""
    place = {name: index for index, name in enumerate(joints)}
    drawn = [limb for limb in LIMBS if limb not in _TRUNK or "neck" not in place]
    return tuple((place[a], place[b]) for a, b in drawn if a in place and b in place)


def _triples(path: Path, value: Any, problems: list[str]) -> np.ndarray | None:
    """Rows (J, 3) of a flat list; None where there is none, or with a problem."""
    if value is None or value == []:
        return None
    try:
        row = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        row = np.empty(0)
    if row.ndim != 1 or not row.size or row.size % 3 or not np.isfinite(row).all():
        problems.append(f"{path} has keypoints {brief(value)}, expected a flat list of x, y, confidence: detect them again.")
        return None
    return row.reshape(-1, 3)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    return (entry for entry in (value if isinstance(value, list) else ()) if isinstance(entry, dict))


def _pairs(value: Any) -> Iterator[tuple[int, int]]:
    entries = value if isinstance(value, list) else ()
    pairs = (entry for entry in entries if isinstance(entry, list) and len(entry) == 2)
    return ((pair[0], pair[1]) for pair in pairs if all(type(end) is int for end in pair))
