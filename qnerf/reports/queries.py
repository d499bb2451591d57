"""Pictures of what a query field has learnt: queries and rendered queries as colours, expected depth as brightness."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from qnerf.common.files import Pixels
from qnerf.consolidation.consolidate import IntervalRecord
from qnerf.reports.images import spread, to_pixels

TILE, GAP, MOST_VIEWS = 96, 4, 6


def interval_picture(record: IntervalRecord) -> Pixels:
    """Three rows, for up to six views: recorded queries, rendered queries, expected depth. (H, W, 3) bytes."""
    views = spread(len(record.recorded), MOST_VIEWS)
    recorded, rendered = principal_colours(record.recorded[views], record.rendered[views])
    rows = [recorded, rendered, depth_shades(record.depth[views])]
    return _grid([[to_pixels(image) for image in row] for row in rows])


def principal_colours(reference: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of maps (V, rows, columns, C) as colours (V, 3, rows, columns) in [0, 1].

    Both are projected on the first three principal components of `reference` and scaled by its 2nd and 98th percentiles,
    so that equal colours mean equal queries. The sign of a component is fixed by its largest entry.
    """
    flat = reference.detach().float().cpu().flatten(0, 2)
    mean = flat.mean(dim=0)
    _, _, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    axes = directions[:3]
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    low, high = torch.quantile((flat - mean) @ axes.T, torch.tensor([0.02, 0.98]), dim=0)

    def colour(maps: Tensor) -> Tensor:
        scores = (maps.detach().float().cpu() - mean) @ axes.T
        shades = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1).movedim(-1, 1)
        return torch.cat([shades, shades.new_zeros(len(shades), 3 - shades.shape[1], *shades.shape[2:])], dim=1)

    return colour(reference), colour(other)


def depth_shades(depth: Tensor) -> Tensor:
    """Depths (V, rows, columns) as grey pictures (V, 3, rows, columns): near is bright, linear in inverse depth."""
    near = 1 / depth.detach().float().cpu().clamp_min(1e-6)
    low, high = torch.quantile(near.flatten(), torch.tensor([0.02, 0.98]))
    return ((near - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)[:, None].expand(-1, 3, -1, -1)


def _grid(rows: list[list[Pixels]]) -> Pixels:
    height, width = rows[0][0].shape[:2]
    tile = (TILE * width // height, TILE)
    page = Image.new("RGB", (len(rows[0]) * (tile[0] + GAP) - GAP, len(rows) * (TILE + GAP) - GAP), (255, 255, 255))
    for r, row in enumerate(rows):
        for c, pixels in enumerate(row):
            image = Image.fromarray(pixels).resize(tile, Image.Resampling.NEAREST)
            page.paste(image, (c * (tile[0] + GAP), r * (TILE + GAP)))
    return np.asarray(page)
