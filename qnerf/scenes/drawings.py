"""The drawing that a ControlNet sees of a scene, by name: of the proxy in this project's grades, as foreign ControlNets know it, or
images of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnerf.devices import HOST
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.depth_map import draw_depth_map
from qnerf.scenes.drawing_files import drawing_files
from qnerf.scenes.images import read_image
from qnerf.scenes.openpose import draw_openpose
from qnerf.scenes.problems import raise_problems
from qnerf.scenes.scene import Proxy, Scene, State
from qnerf.scenes.settings import Drawing


@dataclass(frozen=True)
class Sources:
    """What drawings are made from beside the proxy. images: the folder of one's own, of which key is the setting. depth: the
    source scene's (N, H, W), distance along the rays; called where a drawing needs it."""

    images: str | None = None
    key: str = "control"
    depth: Callable[[], Tensor] | None = None


def draw(scene: Scene, proxy: Proxy, state: State, drawing: Drawing, size: tuple[int, int], sources: Sources) -> Tensor:
    """A scene's control before or after the edit: (N, 3, H, W) float32 in [0, 1], in the host's memory, where drawings are made and
    proxies are. size: (height, width). Raises UserError where the drawing cannot be made."""
    cameras = scene.cameras.to(HOST)
    if drawing == "images":
        return read_drawings(sources.images, scene.view_names, size, f"{sources.key}.{state}_images")
    if drawing == "openpose":
        return draw_openpose(proxy, state, cameras, size)
    if drawing == "depth":
        assert sources.depth is not None
        return draw_depth_map(proxy, state, cameras, size, sources.depth().to(HOST))
    return draw_proxy_control(proxy, state, cameras, drawing, size)


def read_drawings(folder: str | None, names: tuple[str, ...], size: tuple[int, int], key: str) -> Tensor:
    """The drawings <view>.png or .jpg of a folder, (N, 3, H, W) in [0, 1]. Raises one UserError that names every view without one,
    and every one of another size."""
    files = drawing_files(folder, key)
    problems = [f"{key}: {folder} has no drawing for the view {name}: add {name}.png." for name in names if name not in files]
    raise_problems(str(folder), problems)
    images = [read_image(files[name]) for name in names]
    height, width = size
    problems = [
        f"{files[name]} is {image.shape[1]} x {image.shape[0]} pixels, expected {width} x {height}: draw it at the views' size."
        for name, image in zip(names, images, strict=True)
        if image.shape[:2] != size
    ]
    raise_problems(str(folder), problems)
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)
