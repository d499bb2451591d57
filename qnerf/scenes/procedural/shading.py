"""The colours of solids: paint, stripes and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnerf.scenes.procedural.surroundings import Surroundings
from qnerf.scenes.solids import Solid


@dataclass(frozen=True)
class Paint:
    """Colour of a part: base, and where stripes > 0 a second colour in bands of that period, metres, along the solid's axis.

    glow: share of its light that it gives itself, 0 to 1.
    """

    base: np.ndarray
    second: np.ndarray
    stripes: float
    glow: float = 0.0


def plain(base: np.ndarray, glow: float = 0.0) -> Paint:
    """One colour (3,) all over."""
    return Paint(base, base, 0.0, glow)


def shade_solid(points: np.ndarray, directions: np.ndarray, solid: Solid, paint: Paint, around: Surroundings) -> np.ndarray:
    """Colours (P, 3) of surface points: wrapped Lambert shading, and a rim darkened as a silhouette's pixels are."""
    normal = solid.normals(points)
    diffuse = np.clip(0.35 + 0.65 * (normal @ around.light.astype(np.float32)), 0, 1)
    facing = np.clip(-(normal * directions).sum(axis=1), 0, 1)
    light = (around.ambient + (1 - around.ambient) * diffuse) * (0.72 + 0.28 * np.sqrt(facing))
    if paint.glow > 0:
        light = paint.glow + (1 - paint.glow) * light
    base = np.broadcast_to(paint.base, points.shape)
    if paint.stripes > 0:
        base = np.where((np.floor(solid.along(points) / paint.stripes) % 2 == 0)[:, None], base, paint.second)
    return (base * light[:, None]).astype(np.float32)
