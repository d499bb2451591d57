"""Sample sheets: a grid of images as one PNG."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image
from torch import Tensor


def arrange(rows: list[list[Tensor]], gap: int = 2) -> Image.Image:
    """Rows of images (3, H, W) in [0, 1], all of one size, on white; rows may be of different lengths."""
    _, height, width = rows[0][0].shape
    size = (max(map(len, rows)) * (width + gap) + gap, len(rows) * (height + gap) + gap)
    sheet = Image.new("RGB", size, "white")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            sheet.paste(Image.fromarray(pixels), (gap + j * (width + gap), gap + i * (height + gap)))
    return sheet


def write_sheet(path: Path, rows: list[list[Tensor]]) -> None:
    """`arrange`d as a PNG, written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        arrange(rows).save(file, format="PNG")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
