"""The words of the puppet world: named colours, and the caption that names those of a scene."""

from __future__ import annotations

import colorsys

import numpy as np

# name -> (hue range in degrees, saturation range, value range); the ranges do not overlap, so that a name can be recognised.
COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-8, 6), (0.75, 0.95), (0.65, 0.9)),
    "orange": ((22, 32), (0.8, 0.95), (0.85, 1.0)),
    "yellow": ((50, 58), (0.75, 0.95), (0.85, 1.0)),
    "green": ((110, 140), (0.6, 0.85), (0.4, 0.7)),
    "cyan": ((172, 188), (0.55, 0.8), (0.7, 0.9)),
    "blue": ((215, 232), (0.7, 0.9), (0.55, 0.85)),
    "purple": ((268, 285), (0.5, 0.75), (0.45, 0.7)),
    "pink": ((325, 340), (0.35, 0.55), (0.9, 1.0)),
    "brown": ((20, 30), (0.55, 0.7), (0.3, 0.45)),
    "white": ((0, 360), (0.0, 0.04), (0.92, 1.0)),
    "grey": ((0, 360), (0.0, 0.06), (0.45, 0.6)),
    "black": ((0, 360), (0.0, 0.1), (0.06, 0.14)),
}
SKINS: dict[str, tuple[float, float, float]] = {
    "light": (0.96, 0.80, 0.69),
    "tan": (0.78, 0.57, 0.42),
    "dark": (0.42, 0.27, 0.19),
}
TEMPLATE = (
    "a figure with {skin} skin in a {shirt} shirt and {trousers} trousers on a {floor} floor before a {background} background"
)

VOCABULARY: tuple[str, ...] = tuple(sorted({*COLOURS, *SKINS, *(word for word in TEMPLATE.split() if "{" not in word)}))


def draw_colour(name: str, rng: np.random.Generator) -> np.ndarray:
    """A random RGB colour, (3,) in [0, 1], that bears this name."""
    hue, saturation, value = (rng.uniform(*bounds) for bounds in COLOURS[name])
    return np.array(colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value), dtype=np.float32)


def draw_skin(name: str, rng: np.random.Generator) -> np.ndarray:
    """A random RGB skin colour, (3,), that bears this name."""
    return np.clip(np.array(SKINS[name]) * rng.uniform(0.93, 1.07) + rng.uniform(-0.02, 0.02, 3), 0, 1).astype(np.float32)
