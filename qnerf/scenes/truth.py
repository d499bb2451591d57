"""The truth folder of a procedural scene: what the edited views really look like, for metrics and the oracle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.capture import centre_piece
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


def read_truth(
    folder: Path,
    names: tuple[str, ...],
    of: Mapping[str, tuple[int, int]],
    size: tuple[int, int],
    crop: bool,
    problems: list[str],
) -> Truth | None:
    """The truth of the named views, cut to the proportions of size (width, height, pixels) if `crop`, and scaled to it (colours
    area-averaged, maps by the nearest pixel). of: width and height of photographs by the view's name, whose proportions a map must
    have; those that could not be read are left out.

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
        paths = [folder / kind / f"{name}.png" for name in names]
        views = [_read_map(path, kind, scale, of.get(path.stem), size, crop, problems) for path in paths]
        if len(problems) == found:
            maps[field] = torch.from_numpy(np.stack(views))
    return Truth(**maps) if len(problems) == found else None


def _read_map(
    path: Path, kind: str, scale: float, of: tuple[int, int] | None, size: tuple[int, int], crop: bool, problems: list[str]
) -> np.ndarray:
    def fitted(values: np.ndarray, mode: int) -> np.ndarray:
        height, width = values.shape[:2]
        if of is not None and width * of[1] != height * of[0]:
            raise UserError(
                f"{path} is {width} x {height} pixels, expected the proportions of its photograph, {of[0]} x {of[1]}: remove "
                "truth/ or write it again."
            )
        if crop:
            left, top, width, height = centre_piece(width, height, size)
            values = np.ascontiguousarray(values[top : top + height, left : left + width])
        return values if (width, height) == size else cv2.resize(values, size, interpolation=mode)

    try:
        if kind in IMAGES:
            return fitted(read_image(path), cv2.INTER_AREA).transpose(2, 0, 1).astype(np.float32) / 255
        if kind in DEPTHS:
            return fitted(read_depth(path, scale), cv2.INTER_NEAREST)
        return fitted(read_mask(path).astype(np.uint8), cv2.INTER_NEAREST).astype(bool)
    except UserError as error:
        problems.append(str(error))
        return np.empty(0)
