"""2-D keypoints that a pose model finds in a capture's photographs, through rtmlib
(github.com/Tau-J/rtmlib; the extra `rtmlib`).

Models are files that the user has. rtmlib downloads what it does not find; it is asked for files
alone that are there. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.common.files import write_json
from qnerf.common.installation import install_command
from qnerf.errors import UserError
from qnerf.scenes.capture import named_size
from qnerf.scenes.frames import view_names
from qnerf.scenes.images import read_image
from qnerf.scenes.joints_found import posed_frames
from qnerf.scenes.keypoints import COCO_17
from qnerf.scenes.problems import brief
from qnerf.scenes.readers.reader import Frame
from qnerf.scenes.settings import SceneSettings

FILE = "keypoints.json"
APT_36K = (
    *("left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow", "left_front_paw"),
    *("right_shoulder", "right_elbow", "right_front_paw", "left_hip", "left_knee", "left_back_paw"),
    *("right_hip", "right_knee", "right_back_paw"),
)
_APT_BONES = (
    *((0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10)),
    *((4, 11), (11, 12), (12, 13), (4, 14), (14, 15), (15, 16)),
)
KINDS = {"RTMPose": "RTMPose", "RTMO": "RTMO", "ViTPose": "ViTPose", "animal": "ViTPose"}
"""Kinds of models, and rtmlib's classes that run them. animal: one of APT-36K's 17 joints; the
others have COCO's first."""
BODIES = 17, 26, 133  # joints of COCO, Halpe and COCO-WholeBody, whose first 17 are COCO's; others have another order
ANIMALS = tuple(range(14, 24))  # COCO's classes bird to giraffe


@dataclass(frozen=True)
class Models:
    """pose: an ONNX file of a kind out of `KINDS`. finder: a YOLOX model of COCO's classes that
    finds people or animals in a photograph first; None: the photograph shows one."""

    pose: Path
    finder: Path | None = None
    kind: str = "RTMPose"


def detect_keypoints(settings: SceneSettings, models: Models, folder: Path) -> int:
    """Write `FILE` into a folder, COCO's annotations with the models' confidences, and give the
    number of photographs.

    Raises UserError where the extra or a model's file is missing, the folder has keypoints, or a
    model does not answer as its kind.
    """
    _check(models, folder)
    _, frames = posed_frames(settings)
    solution, names = _load(models), APT_36K if models.kind == "animal" else COCO_17
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (frame, view) in enumerate(zip(frames, view_names(frames), strict=True), start=1):
        image = read_image(frame.image, named_size(frame)) if frame.pixels is None else frame.pixels
        people = _ask(solution, models, frame, image, len(names))
        images.append({"id": number, "file_name": f"{view}.png", "width": image.shape[1], "height": image.shape[0]})
        annotations += [
            {"id": len(annotations) + index, "image_id": number, "category_id": 1, "keypoints": rows.ravel().tolist()}
            for index, rows in enumerate(people, start=1)
        ]
    bones = {"skeleton": [[a + 1, b + 1] for a, b in _APT_BONES]} if models.kind == "animal" else {}
    category = {"id": 1, "name": "animal" if bones else "person", "keypoints": [*names], **bones}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, {"images": images, "annotations": annotations, "categories": [category]})
    return len(frames)


def _check(models: Models, folder: Path) -> None:
    if folder.is_file():
        raise UserError(f"{folder} is a file, expected a new folder to write keypoints into: give another.")
    if any(folder.glob("*.json")):
        raise UserError(f"{folder} has keypoints already, expected a new folder to write them into: give another, or no --detect.")
    for path in (models.pose, models.finder):
        if path is not None and not path.is_file():
            raise UserError(
                f"{path} is no file, expected a model in ONNX's format on this machine: download it first (docs/proxy.md)."
            )
    try:
        there = find_spec("rtmlib") is not None
    except ValueError:  # a module that is set by hand has no spec
        there = True
    if not there:
        raise UserError(f"rtmlib is not installed, which makes keypoints with --detect: {install_command('rtmlib')}.")


def _load(models: Models) -> Any:
    from rtmlib import Custom  # pyright: ignore[reportMissingImports]

    finder = {} if models.finder is None else {"det_class": "YOLOX", "det": str(models.finder)}
    if finder and models.kind == "animal":
        finder |= {"det_mode": "multiclass", "det_categories": [*ANIMALS]}
    try:
        with redirect_stdout(StringIO()):  # it says which file it loads
            solution = Custom(pose_class=KINDS[models.kind], pose=str(models.pose), backend="onnxruntime", **finder)
    except Exception as error:  # ONNX Runtime's own, of many kinds
        files = " or ".join(str(path) for path in (models.pose, models.finder) if path is not None)
        raise UserError(
            f"{files} cannot be loaded by ONNX Runtime, expected a whole ONNX model: {brief(str(error), 200)}"
        ) from None
    _set_size(solution.pose_model, wide_first=models.kind != "RTMO")
    if models.finder is not None:
        _set_size(solution.det_model, wide_first=False)
    return solution


def _set_size(tool: Any, wide_first: bool) -> None:
    """Models say the size (height, width) of what they read, unless they read any; some of rtmlib's
    tools want the width first."""
    shape = tool.session.get_inputs()[0].shape
    if len(shape) == 4 and all(isinstance(side, int) and side > 0 for side in shape[2:]):
        tool.model_input_size = tuple(shape[:1:-1] if wide_first else shape[2:])


def _ask(solution: Any, models: Models, frame: Frame, image: np.ndarray, joints: int) -> Sequence[np.ndarray]:
    """(joints, 3) of each person or animal in an image (H, W, 3) uint8 RGB: x and y, pixels with
    centres at +0.5, and confidence, 0 to 1."""
    try:
        found = solution(np.ascontiguousarray(image[..., ::-1]))  # as OpenCV has them, blue first
        places, scores = np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)
        rows = np.concatenate([places[..., :2] + 0.5, scores.clip(0, 1)[..., None]], axis=-1)[:, :joints]
    except Exception as error:  # what a model of another kind leads to is anything
        raise UserError(
            f"{models.pose} does not answer as a model of the kind {models.kind} ({brief(str(error), 200)}), at {frame.image}: "
            f"give its kind, out of {', '.join(KINDS)}."
        ) from None
    known = (joints,) if models.kind == "animal" else BODIES
    if places.shape[-2] not in known or rows.shape[1:] != (joints, 3):
        raise UserError(
            f"{models.pose} finds {places.shape[-2]} joints, expected {' or '.join(map(str, known))}, of which the first "
            f"{joints} are known by name: give another model, or its --kind."
        )
    rows[~np.isfinite(rows).all(axis=-1)] = 0.0
    return list(rows)
