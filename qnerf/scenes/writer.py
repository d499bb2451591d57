"""Write a scene as a nerfstudio-style folder: transforms.json, images, proxy.json and, where it is known, the
truth."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.images import write_image
from qnerf.scenes.proxies import write_proxy
from qnerf.scenes.scene import Scene
from qnerf.scenes.truth import write_truth
from qnerf.scenes.world import UNMOVED, World

DEPTH_RANGE = 8.0  # times the region's radius: depths beyond the farthest camera plus this are written as "no surface"


def write_scene(folder: Path | str, scene: Scene, world: int = 1) -> None:
    """Write a scene, whole or not at all. world: the version of the world that made it, noted in
    transforms.json.

    Raises UserError where the folder exists already.
    """
    folder = Path(folder)
    if folder.exists():
        raise UserError(f"{folder} exists already, expected a new folder for the scene: choose another or remove it.")
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    for name, image in zip(scene.view_names, scene.images.cpu().numpy(), strict=True):
        write_image(partial / "images" / f"{name}.png", image)
    document = {
        **transforms_document(scene.cameras, [f"images/{name}.png" for name in scene.view_names], scene.world),
        "prompt": scene.source_prompt,
        "target_prompt": scene.target_prompt,
        **region_document(scene),
        "world": world,
    }
    (partial / "transforms.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if scene.proxy is not None:
        write_proxy(partial / "proxy.json", scene.proxy, world, scene.world)
    if scene.truth is not None:
        distance = (scene.cameras.positions - scene.focus).norm(dim=-1).max().item()
        write_truth(partial / "truth", scene.truth, scene.view_names, distance + DEPTH_RANGE * scene.radius)
    try:
        os.replace(partial, folder)
    except OSError:  # another process has written it meanwhile
        shutil.rmtree(partial, ignore_errors=True)
        raise


def region_document(scene: Scene) -> dict[str, Any]:
    """Focus and radius in the world's own units."""
    return {"focus": scene.world.outward(scene.focus.cpu().numpy()).tolist(), "radius": scene.radius * scene.world.scale}


def transforms_document(cameras: Cameras, file_paths: list[str], world: World = UNMOVED) -> dict[str, Any]:
    """The nerfstudio keys for cameras and their images: intrinsics once where all views share them, else by
    frame. world: in whose units poses are written."""
    poses = cameras.camera_to_world.double().cpu().numpy()
    poses[:, :3, 3] = world.outward(poses[:, :3, 3])
    intrinsics = [
        {"fl_x": focal[0], "fl_y": focal[1], "cx": centre[0], "cy": centre[1]}
        for focal, centre in zip(cameras.focal.tolist(), cameras.centre.tolist(), strict=True)
    ]
    shared = all(numbers == intrinsics[0] for numbers in intrinsics)
    frames = [
        {"file_path": file_path, **({} if shared else numbers), "transform_matrix": pose}
        for file_path, numbers, pose in zip(file_paths, intrinsics, poses.tolist(), strict=True)
    ]
    head = {"camera_model": "OPENCV", "w": cameras.width, "h": cameras.height}
    return {**head, **(intrinsics[0] if shared else {}), "frames": frames}
