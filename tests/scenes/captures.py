"""Small captures of other programs, made up: four cameras on a ring, and images that show where the origin's neighbour is."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.scenes.conftest import ring_cameras

SIZE, FOCAL = 48, 55.0
POSES = ring_cameras(4, SIZE, FOCAL).camera_to_world.double().numpy()
DOCUMENT: dict[str, Any] = {
    **dict.fromkeys(("fl_x", "fl_y"), FOCAL),
    **dict.fromkeys(("cx", "cy"), SIZE / 2),
    **dict.fromkeys(("w", "h"), SIZE),
    "prompt": "a ball",
    "frames": [{"file_path": f"images/{view:03d}.png", "transform_matrix": pose.tolist()} for view, pose in enumerate(POSES)],
}
BOX = {"centre": [0, 0, 0.9], "size": [1, 1, 1]}
PROXY: dict[str, Any] = {"kind": "box", "source": BOX, "target": {**BOX, "centre": [0, 0, 1.1]}}


def document() -> dict[str, Any]:
    """A capture's document, to be changed."""
    return copy.deepcopy(DOCUMENT)


def pixels(view: int, size: int = SIZE) -> np.ndarray:
    """An image (size, size, 3) of its own: dark, with a bright corner at the top left."""
    image = np.full((size, size, 3), 20 + 10 * view, dtype=np.uint8)
    image[: size // 4, : size // 4] = (250, 240 - 20 * view, 60)
    return image


def write_images(folder: Path, names: list[str], size: int = SIZE) -> None:
    for view, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(view, size)).save(path)


def write_capture(folder: Path, changed: dict[str, Any] | None = None, name: str = "transforms.json") -> Path:
    """A folder with images/000.png … and a transforms.json; changed: its document, None for the usual one."""
    write_images(folder, [f"images/{view:03d}.png" for view in range(4)])
    (folder / name).write_text(json.dumps(DOCUMENT if changed is None else changed))
    return folder
