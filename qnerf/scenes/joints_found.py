"""A skeleton in space from 2-D keypoints of a capture's photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.capture import frame_size, make_view
from qnerf.scenes.fingerprint import scene_folder
from qnerf.scenes.focus import FLIP
from qnerf.scenes.frames import view_names
from qnerf.scenes.keypoints import Keypoints
from qnerf.scenes.lens import straight_points
from qnerf.scenes.readers.reader import Frame, reader_of
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.triangulation import Found, Sighting, triangulate

TOLERANCE = 0.01  # of a photograph's longer side: as far as a detector's keypoints lie beside a joint


@dataclass(frozen=True)
class Skeleton:
    """joints: names of those that were found. bones: pairs of their indices. found: where each is, and how
    well. seen: in how many views each has a keypoint. missing: joints of which too few views agree."""

    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    found: tuple[Found, ...]
    seen: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def points(self) -> np.ndarray:
        """(J, 3) world positions, float64."""
        return np.stack([each.point for each in self.found])

    def document(self, target: Skeleton | None = None) -> dict[str, Any]:
        """A proxy's document (docs/proxy.md). target: the same joints after the edit; None: as before it."""
        before: dict[str, list[float]] = dict(zip(self.joints, self.points.tolist(), strict=True))
        after = before | (dict(zip(target.joints, target.points.tolist(), strict=True)) if target else {})
        bones = [list(bone) for bone in self.bones]
        source, goal = ([state[name] for name in self.joints] for state in (before, after))
        return {"kind": "skeleton", "joints": [*self.joints], "bones": bones, "source": source, "target": goal}


def posed_frames(settings: SceneSettings) -> tuple[Path, list[Frame]]:
    """A capture's folder, and its frames whose images are there. Raises UserError where it has no cameras."""
    folder = scene_folder(settings.path)
    reader = reader_of(folder, settings.reader)
    if not reader.posed:
        raise UserError(f"{folder} has images without cameras, expected a capture: a joint is found from several cameras.")
    return folder, [frame for frame in reader.read(folder)[1] if frame.exists]


def find_joints(settings: SceneSettings, keypoints: Keypoints, least: float, tolerance: float | None = None) -> Skeleton:
    """Triangulate every joint over the views that have its keypoint with a confidence above `least`.

    tolerance: pixels by which a view that agrees may miss; None: `TOLERANCE`. Raises UserError where fewer
    than two photographs have keypoints, or no joint is found.
    """
    folder, frames = posed_frames(settings)
    rows = [_row(frame, name, keypoints) for frame, name in zip(frames, view_names(frames), strict=True)]
    seen = [(frame, row) for frame, row in zip(frames, rows, strict=True) if row is not None]
    if len(seen) < 2:
        names = ", ".join(sorted(keypoints.views)[:3])
        advice = f"name them as the photographs (found: {names})"
        raise UserError(f"{folder}: {len(seen)} photographs have keypoints, expected 2 and more: {advice}.")
    views = [_view(frame, settings.axes, row, keypoints.sizes.get(Path(frame.file_path).stem)) for frame, row in seen]
    allowed = tolerance or TOLERANCE * float(np.median([side for *_, side in views]))
    found: dict[str, tuple[Found, int]] = {}
    for index, name in enumerate(keypoints.joints):
        usable = [view for view in views if view[2][index] > least and np.isfinite(view[1][index]).all()]
        if len(usable) < 2:
            continue
        poses, points, weights, focal, _ = zip(*usable, strict=True)
        flat, trust = np.stack([each[index] for each in points]), np.array([each[index] for each in weights])
        sighting = Sighting(np.stack(poses), flat, np.array(focal), trust)
        if (point := triangulate(sighting, allowed)) is not None:
            found[name] = point, len(usable)
    if not found:
        found_by = f"no joint is seen alike by two views (within {allowed:.1f} pixels)"
        raise UserError(f"{folder}: {found_by}: check that keypoints have their photographs' names, or set --tolerance.")
    joints = tuple(name for name in keypoints.joints if name in found)
    place = {keypoints.joints.index(name): new for new, name in enumerate(joints)}
    bones = tuple((place[a], place[b]) for a, b in keypoints.bones if a in place and b in place)
    missing = tuple(name for name in keypoints.joints if name not in found)
    return Skeleton(joints, bones, tuple(found[name][0] for name in joints), tuple(found[name][1] for name in joints), missing)


def _row(frame: Frame, name: str, keypoints: Keypoints) -> np.ndarray | None:
    """A photograph's keypoints, by its view's name or its file's."""
    return next((keypoints.views[each] for each in (name, Path(frame.file_path).stem) if each in keypoints.views), None)


def _view(
    frame: Frame, axes: str | None, row: np.ndarray, size: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Pose, points (J, 2) on the plane z = 1, confidences (J,), focal length and longer side, pixels, of a
    photograph."""
    width, height = frame_size(frame) or (0, 0)
    if not width or not height:
        raise UserError(f"{frame.image} cannot be decoded, expected a complete PNG or JPEG: copy or export it again.")
    view = make_view(frame, np.zeros((height, width, 0), np.uint8))
    pixels = row[:, :2] * (np.array([width, height]) / np.array(size) if size else 1.0)
    points = straight_points(pixels, view.focal, view.centre, view.distortion, view.fisheye)
    pose = frame.pose @ FLIP if axes == "opencv" else frame.pose
    return pose, points, row[:, 2], float(view.focal.mean()), float(max(width, height))
