"""The edit at the photographs' own resolution: the photograph where nothing changes (docs/method.md §4.7, ours)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from qnerf.common.files import Pixels, write_image, write_json
from qnerf.scenes.scene import Scene

EDGE = 0.03  # of the window's side: where the photograph goes on beyond what the model saw, the edit fades out
DETAIL = 0.06  # a change of colour, in [0, 1], by which the photograph's own fine detail has gone from the edit


def export_full_size(folder: Path, decoded: Tensor, mask: Tensor, scene: Scene) -> None:
    """Writes <view>.png and transforms.json into the folder, one photograph after the other. decoded: (N, 3, H, W) in [0, 1]. mask:
    (N, H, W), how far they count. The scene has photographs. Raises UserError where one cannot be read any more."""
    assert scene.photographs is not None
    frames = []
    for index, (name, photograph) in enumerate(zip(scene.view_names, scene.photographs, strict=True)):
        whole = photograph.read()
        source, edited = (x[index].permute(1, 2, 0).cpu().numpy() for x in (scene.images, decoded))
        pixels = edit_photograph(whole.image, photograph.window, source, edited, mask[index].cpu().numpy())
        write_image(folder / f"{name}.png", pixels)
        (focal_x, focal_y), (x, y) = whole.focal.tolist(), whole.centre.tolist()
        numbers = {"w": photograph.width, "h": photograph.height, "fl_x": focal_x, "fl_y": focal_y, "cx": x, "cy": y}
        pose = scene.cameras.camera_to_world[index].tolist()
        frames.append({"file_path": f"{name}.png", **numbers, "transform_matrix": pose})
    if not scene.posed:
        return
    region = {"prompt": scene.target_prompt, "focus": scene.focus.tolist(), "radius": scene.radius}
    write_json(folder / "transforms.json", {"camera_model": "OPENCV", "frames": frames, **region})


def edit_photograph(
    photograph: Pixels, window: tuple[int, int, int, int], source: np.ndarray, edited: np.ndarray, mask: np.ndarray
) -> Pixels:
    """A photograph (H, W, 3) with the edit of a view of it, which shows its window (left, top, width, height), pixels.

    source, edited: (h, w, 3) in [0, 1], the view before and after the edit. mask: (h, w) in [0, 1], how far it counts: where it is
    0, the photograph's bytes stay. The edited view is enlarged, and the fine detail that the photograph has beyond the source view
    is added where the edit has not changed the colours by more than about `DETAIL`: elsewhere it is detail of what was there.
    """
    left, top, width, height = window
    counts = _enlarged(mask, width, height, cv2.INTER_LINEAR) * _fade(photograph.shape[:2], window)
    changed = np.abs(edited - source).max(axis=2)
    same = _enlarged(np.exp(-((changed / DETAIL) ** 2)), width, height, cv2.INTER_LINEAR)
    inside = photograph[top : top + height, left : left + width]
    detail = inside.astype(np.float32) / 255 - _enlarged(source, width, height, cv2.INTER_CUBIC)
    wanted = _enlarged(edited, width, height, cv2.INTER_CUBIC) + same[..., None] * detail
    mixed = inside + counts[..., None] * (255 * wanted - inside)
    result = photograph.copy()
    result[top : top + height, left : left + width] = np.where(counts[..., None] > 0, np.rint(mixed.clip(0, 255)), inside)
    return result


def _enlarged(values: np.ndarray, width: int, height: int, mode: int) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), (width, height), interpolation=mode)


def _fade(shape: tuple[int, ...], window: tuple[int, int, int, int]) -> np.ndarray:
    """(height, width) of the window: 1, but falling to 0 at those of its sides where the photograph (H, W) goes on."""
    left, top, width, height = window
    edge = max(1.0, EDGE * min(width, height))
    across = _ramp(width, left > 0, left + width < shape[1], edge)
    return np.minimum(across[None, :], _ramp(height, top > 0, top + height < shape[0], edge)[:, None])


def _ramp(count: int, at_first: bool, at_last: bool, edge: float) -> np.ndarray:
    """(count,) 1, but rising from 0 over the first pixels, and falling to 0 over the last, where it says so."""
    away = np.minimum((np.arange(count, dtype=np.float32) + 0.5) / np.float32(edge), 1)
    return np.minimum(away if at_first else np.float32(1), away[::-1] if at_last else np.ones_like(away))
