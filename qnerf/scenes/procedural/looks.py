"""The colours of a scene: named ones from their names, the rest free."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qnerf.scenes.procedural.captions import COLOURS, SKINS, draw_colour, draw_skin
from qnerf.scenes.procedural.shading import Paint, plain
from qnerf.scenes.procedural.surroundings import TEXTURES, Surroundings, Texture

# Parts that no caption names, by kind, with the colours they may have; the figure's are in `draw_paints`.
UNNAMED: dict[str, dict[str, tuple[str, ...]]] = {
    "lamp": {},
    "seat": {"pillow": tuple(COLOURS)},
    "toy": dict.fromkeys(("muzzle", "paws", "spots"), ("white", "grey", "brown", "black")),
}  # fmt: skip
STRIPED = {"lamp": (), "seat": ("cover",), "toy": ()}
TEXTURED_SHARE, STRIPED_SHARE = 0.5, 0.25
WARM_WHITE, DARK = np.array([1.0, 0.95, 0.78], dtype=np.float32), np.full(3, 0.08, np.float32)


def draw_names(kind: str, parts: tuple[str, ...], rng: np.random.Generator) -> dict[str, str]:
    """A colour's name for each part, the floor and the background; these two never have the largest part's colour."""
    names = {part: str(rng.choice(list(SKINS if part == "skin" else COLOURS))) for part in parts}
    main = names["shirt" if kind == "figure" else parts[0]]
    others = [name for name in COLOURS if name != main]
    return {**names, "floor": str(rng.choice(others)), "background": str(rng.choice(others))}


def draw_paints(names: dict[str, str], skin: str, rng: np.random.Generator) -> dict[str, Paint]:
    """A figure's paints by part."""
    paints = {"skin": plain(draw_skin(skin, rng)), "eye": plain(np.full(3, 0.08, np.float32))}
    for part in ("shirt", "trousers"):
        base = draw_colour(names[part], rng)
        lighter, darker = 0.45 * base + 0.55, 0.45 * base
        striped = rng.random() < 0.4
        paints[part] = Paint(base, lighter if base.mean() < 0.5 else darker, rng.uniform(0.05, 0.1) if striped else 0.0)
    for part in ("hat", "bag", "shoes", "hair"):
        choices = ["black", "brown", "yellow", "grey", "red"] if part == "hair" else list(COLOURS)
        paints[part] = plain(draw_colour(str(rng.choice(choices)), rng))
    return paints


def draw_object_paints(kind: str, names: dict[str, str], rng: np.random.Generator) -> dict[str, Paint]:
    """The paints by part of any other kind."""
    paints = {part: plain(draw_colour(names[part], rng)) for part in names}
    for part in STRIPED[kind]:
        if rng.random() < STRIPED_SHARE:
            base = paints[part].base
            paints[part] = Paint(base, 0.3 + 0.7 * base if base.mean() < 0.5 else 0.7 * base, rng.uniform(0.07, 0.14))
    for part, choices in UNNAMED[kind].items():
        paints[part] = plain(draw_colour(str(rng.choice(choices)), rng))
    return {**paints, "light": plain(WARM_WHITE, glow=0.9), "bulb": plain(WARM_WHITE, glow=0.6), "dark": plain(DARK)}


def draw_surroundings(floor: str, background: str, rng: np.random.Generator) -> Surroundings:
    base = draw_colour(floor, rng)
    second = 0.78 * base + 0.22 * (1.0 if base.mean() < 0.4 else 0.0)
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 0.95)
    sideways = np.sqrt(1 - height**2)
    return Surroundings(
        floor=base,
        floor_second=second.astype(np.float32),
        pattern=str(rng.choice(["plain", "checker", "stripes", "dots", "rings"])),
        period=rng.uniform(0.4, 0.8),
        angle=rng.uniform(-np.pi, np.pi),
        background=draw_colour(background, rng),
        gradient=rng.uniform(-0.25, 0.25),
        light=np.array([sideways * np.cos(azimuth), sideways * np.sin(azimuth), height], dtype=np.float32),
        ambient=rng.uniform(0.45, 0.65),
    )


def with_texture(around: Surroundings, rng: np.random.Generator) -> Surroundings:
    """The surroundings with a textured background, in half of all scenes; the pattern is a shade of the same colour."""
    if rng.random() >= TEXTURED_SHARE:
        return around
    base = around.background
    second = (0.25 + 0.75 * base) if base.mean() < 0.45 else 0.72 * base
    texture = Texture(
        pattern=str(rng.choice(TEXTURES)),
        second=second.astype(np.float32),
        count=2 * int(rng.integers(14, 29)),
        phase=rng.uniform(0, 2 * np.pi, 4),
    )
    return replace(around, texture=texture)
