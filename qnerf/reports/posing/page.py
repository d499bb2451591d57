"""The page on which a proxy is made by mouse: joints are clicked in photographs, triangulated, and dragged to
the target; a box is placed, sized and turned by handles."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from qnerf.common.files import write_text
from qnerf.errors import UserError
from qnerf.reports.html import render
from qnerf.reports.inspection.drawing import jpeg
from qnerf.reports.inspection.page import whole_photograph
from qnerf.scenes.bounds_file import bounds_document
from qnerf.scenes.fingerprint import scene_folder
from qnerf.scenes.keypoints import limbs_of
from qnerf.scenes.openpose_joints import JOINTS
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.readers.reader import reader_of
from qnerf.scenes.scene import Scene
from qnerf.scenes.settings import SceneSettings

VIEWS = 16
SIDE = 640  # pixels of a photograph's longer side on the page
_LEGS = [[f"{side}_{end}_{part}" for part in ("hip", "knee", "paw")] for end in ("front", "back") for side in ("left", "right")]
_EARS = [[f"{side}_ear", f"{side}_ear_tip"] for side in ("left", "right")]
_QUADRUPED = ["nose", "head", "neck", "tail_base", "tail_tip", *(name for limb in (*_EARS, *_LEGS) for name in limb)]


def templates() -> dict[str, dict[str, Any]]:
    """Proxies to begin with: names of joints, and bones as pairs of indices; a box has none of them."""
    legs = [pair for limb in (*_EARS, *_LEGS) for pair in pairwise(limb)]
    trunk = [*pairwise(["nose", "head", "neck", "tail_base", "tail_tip"]), *(("head", ear) for ear, _ in _EARS)]
    hips = [("neck" if "front" in leg[0] else "tail_base", leg[0]) for leg in _LEGS]
    bones = [[_QUADRUPED.index(a), _QUADRUPED.index(b)] for a, b in (*trunk, *hips, *legs)]
    return {
        "OpenPose 18": {"joints": [*JOINTS], "bones": [list(bone) for bone in limbs_of(JOINTS)]},
        "quadruped": {"joints": _QUADRUPED, "bones": bones},
        "lamp": {"joints": ["foot", "hinge", "neck", "head"], "bones": [[0, 1], [1, 2], [2, 3]]},
        "box": {"joints": [], "bones": []},
    }


def write_posing_page(place: str, proxy: str | None, axes: Any, views: int | None, path: Path) -> int:
    """Write the page for the views of the scene at `place`, and give their number. The proxy that the scene
    has, or the one of the file `proxy`, is there to be changed. views: how many; None: `VIEWS`, or all.

    Raises UserError where the scene cannot be read, or has no cameras.
    """
    folder = scene_folder(place)
    reader = reader_of(folder)
    if not reader.posed:
        raise UserError(f"{place} has images without cameras, expected a capture: joints are found from several cameras.")
    there = sum(frame.exists for frame in reader.read(folder)[1])
    if views is not None and views > there:
        raise UserError(f"--views is {views}, but {place} has {there} images: set it to at most this number.")
    wanted = max(2, min(views or VIEWS, there))
    settings = SceneSettings(path=place, proxy=proxy, axes=axes, size=256, views=wanted, source_prompt="", target_prompt="")
    scene, _ = read_with_notes(settings)
    drawn = [_view(scene, index) for index in range(len(scene.view_names))]
    world = scene.world
    data = {"views": drawn, "templates": templates(), "offset": world.offset, "scale": world.scale, "proxy": _proxy(scene)}
    data["focus"] = scene.focus.tolist()
    write_text(path, render("posing.html", title=f"{scene.name}: a proxy for its edit", data=data))
    return len(drawn)


def _view(scene: Scene, index: int) -> dict[str, Any]:
    image, camera, _ = whole_photograph(scene, index)
    scale = SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    factor = np.array(size) / (image.shape[1], image.shape[0])
    pose = camera.camera_to_world[0].double().numpy()
    return {
        "name": scene.view_names[index],
        "picture": jpeg(np.ascontiguousarray(small, dtype=np.uint8)),
        "size": size,
        "rows": (np.diag([1.0, -1.0, -1.0]) @ pose[:3, :3].T).tolist(),
        "place": pose[:3, 3].tolist(),
        "focal": (camera.focal[0].double().numpy() * factor).tolist(),
        "centre": (camera.centre[0].double().numpy() * factor).tolist(),
    }


def _proxy(scene: Scene) -> dict[str, Any] | None:
    """The scene's own proxy as its file has it, in the world's units; of a box its corners."""
    proxy = scene.proxy
    if proxy is None:
        return None
    source, target = (scene.world.outward(points.numpy()).tolist() for points in (proxy.source, proxy.target))
    bounds = {"source_bounds": proxy.source_bounds, "target_bounds": proxy.target_bounds}
    return {
        "kind": proxy.kind,
        "joints": proxy.joints,
        "bones": proxy.bones,
        "source": source,
        "target": target,
        "keeps_direction": [proxy.joints[joint] for joint in proxy.keeps_direction],
        **{key: bounds_document(value, scene.world) for key, value in bounds.items() if value is not None},
    }
