"""The truth folder of a procedural scene: what the edited views really look like, for metrics and the oracle."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.images import (
    NOTHING,
    read_depth,
    read_image,
    read_json,
    read_mask,
    write_depth,
    write_image,
    write_mask,
)
from qnerf.scenes.problems import quoted
from qnerf.scenes.scene import Truth

IMAGES = {"edited": "edited_images", "plate": "plates"}
DEPTHS = {"depth_source": "depth_source", "depth_edited": "depth_edited"}
MASKS = {
    "silhouette_source": "silhouette_source",
    "silhouette_edited": "silhouette_edited",
    "moved_edited": "moved_edited",
}
OPTIONAL = ("plate",)


def write_truth(folder: Path, truth: Truth, names: tuple[str, ...], farthest: float) -> None:
    """Write every map of the truth as a PNG a view. farthest: depths beyond it (world units) count as no surface."""
    scale = farthest / (NOTHING - 1)
    folder.mkdir(parents=True)
    (folder / "truth.json").write_text(json.dumps({"depth_scale": scale}) + "\n", encoding="utf-8")
    for kind, field in {**IMAGES, **DEPTHS, **MASKS}.items():
        values: Tensor | None = getattr(truth, field)
        if values is None:
            continue
        (folder / kind).mkdir()
        for name, value in zip(names, values.cpu().numpy(), strict=True):
            path = folder / kind / f"{name}.png"
            if kind in IMAGES:
                write_image(path, value)
            elif kind in DEPTHS:
                write_depth(path, value, scale)
            else:
                write_mask(path, value)


def read_truth(folder: Path, names: tuple[str, ...], size: int, problems: list[str]) -> Truth | None:
    """The truth of the named views at size x size pixels (colours area-averaged, maps by the nearest pixel).

    None where the scene has none, or where something is wrong with it: what, is added to problems.
    """
    if not folder.is_dir():
        return None
    found = len(problems)
    document = read_json(folder / "truth.json")
    scale = document.get("depth_scale") if isinstance(document, dict) else None
    if not isinstance(scale, float) or not 0 < scale < np.inf:
        problems.append(f"{folder}/truth.json has depth_scale = {quoted(scale)}, expected a length above 0: write it again.")
        return None
    maps: dict[str, Tensor] = {}
    for kind, field in {**IMAGES, **DEPTHS, **MASKS}.items():
        if kind in OPTIONAL and not (folder / kind).is_dir():
            continue
        views = [_read_map(folder / kind / f"{name}.png", kind, scale, size, problems) for name in names]
        if len(problems) == found:
            maps[field] = torch.from_numpy(np.stack(views))
    return Truth(**maps) if len(problems) == found else None


def _read_map(path: Path, kind: str, scale: float, size: int, problems: list[str]) -> np.ndarray:
    try:
        if kind in IMAGES:
            return _resized(path, read_image(path), size, cv2.INTER_AREA).transpose(2, 0, 1).astype(np.float32) / 255
        if kind in DEPTHS:
            return _resized(path, read_depth(path, scale), size, cv2.INTER_NEAREST)
        return _resized(path, read_mask(path).astype(np.uint8), size, cv2.INTER_NEAREST).astype(bool)
    except UserError as error:
        problems.append(str(error))
        return np.empty(0)


def _resized(path: Path, values: np.ndarray, size: int, mode: int) -> np.ndarray:
    height, width = values.shape[:2]
    if height != width:
        raise UserError(f"{path} is {width} x {height} pixels, expected a square: remove truth/ or write it again.")
    return values if height == size else cv2.resize(values, (size, size), interpolation=mode)
