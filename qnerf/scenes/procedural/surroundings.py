"""Floor, background and light of a scene of the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnerf.scenes.procedural.shadow import ContactShadow


@dataclass(frozen=True)
class Texture:
    """A pattern on the background, which lies at infinity: a second colour (3,) where `weights` says.

    pattern: "striped", "checked" or "dotted" in `count` periods round the horizon, or "cloudy". phase: (4,) radians.
    """

    pattern: str
    second: np.ndarray
    count: int
    phase: np.ndarray

    def weights(self, directions: np.ndarray) -> np.ndarray:
        """Weight (P,) of the second colour in directions (P, 3)."""
        if self.pattern == "cloudy":
            waves = directions @ (np.float32(0.5 * self.count) * _WAVES) + self.phase.astype(np.float32)
            return np.clip(0.5 + 0.5 * np.sin(waves).sum(axis=1), 0, 1)
        turn = np.float32(self.count / (2 * np.pi))
        u = np.arctan2(directions[:, 1], directions[:, 0]) * turn + np.float32(self.phase[0])
        if self.pattern == "striped":
            return (u - np.floor(u) < 0.5).astype(np.float32)
        v = directions[:, 2] * turn + np.float32(self.phase[1])
        u, v = u - np.floor(u), v - np.floor(v)
        if self.pattern == "checked":
            return ((u < 0.5) == (v < 0.5)).astype(np.float32)
        return ((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.08).astype(np.float32)


TEXTURES = ("striped", "checked", "dotted", "cloudy")
# Four directions (3, 4) of waves whose sum has no period in sight.
_WAVES = np.array([[1.0, -0.6, 0.3, 0.9], [0.4, 0.9, -1.1, -0.7], [0.8, 1.2, 1.5, -1.3]], dtype=np.float32)


@dataclass(frozen=True)
class Surroundings:
    """Floor, background and light.

    pattern: "plain", "checker", "stripes", "dots" or "rings", of period metres, turned by angle, mixing floor into floor_second.
    light: (3,) unit vector towards the lamp. ambient: share of light that does not come from the lamp, 0 to 1.
    texture: of the background; none where it is plain.
    """

    floor: np.ndarray
    floor_second: np.ndarray
    pattern: str
    period: float
    angle: float
    background: np.ndarray
    gradient: float
    light: np.ndarray
    ambient: float
    texture: Texture | None = None


def floor_pattern(x: np.ndarray, y: np.ndarray, around: Surroundings) -> np.ndarray:
    """Weight (P,) of the floor's second colour at floor points with coordinates x and y, (P,) each."""
    cos, sin = np.float32(np.cos(around.angle) / around.period), np.float32(np.sin(around.angle) / around.period)
    u, v = x * cos - y * sin, x * sin + y * cos
    if around.pattern == "checker":
        return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    if around.pattern == "stripes":
        return (np.floor(u) % 2).astype(np.float32)
    if around.pattern == "dots":
        return ((u - np.floor(u) - 0.5) ** 2 + (v - np.floor(v) - 0.5) ** 2 < 0.09).astype(np.float32)
    if around.pattern == "rings":
        return (np.floor(np.sqrt(u * u + v * v)) % 2).astype(np.float32)
    return np.zeros(len(x), dtype=np.float32)


def shade_surroundings(origin: np.ndarray, directions: np.ndarray, around: Surroundings, shadow: ContactShadow) -> np.ndarray:
    """Colours (P, 3) of floor and background; the floor fades into the background between 2.5 and 5 m from the middle.

    All goes channel by channel: numpy is several times slower on an innermost axis of two or three.
    """
    ray_x, ray_y, ray_z = np.ascontiguousarray(directions.T)
    brightness = 1 + around.gradient * ray_z
    sky = np.stack([channel * brightness for channel in around.background])
    below = np.flatnonzero(ray_z < -0.02)
    start_x, start_y, height = origin.astype(np.float32)
    reach = height / ray_z[below]
    x, y = start_x - reach * ray_x[below], start_y - reach * ray_y[below]
    fade = np.clip((np.sqrt(x**2 + y**2) - 2.5) / 2.5, 0, 1)
    if around.texture is not None:
        _add_texture(sky, directions, below[fade == 0], around.texture)
    near = fade < 1
    below, x, y, weight = below[near], x[near], y[near], 1 - fade[near]
    second = floor_pattern(x, y, around)
    lit = around.ambient + (1 - around.ambient) * (0.35 + 0.65 * around.light[2])
    light = lit * (1 - 0.55 * shadow(x, y))
    for channel, base, other in zip(sky, around.floor, around.floor_second, strict=True):
        behind = channel[below]
        channel[below] = behind + weight * ((base + second * (other - base)) * light - behind)
    return np.ascontiguousarray(sky.T)


def _add_texture(sky: np.ndarray, directions: np.ndarray, hidden: np.ndarray, texture: Texture) -> None:
    """Mix the second colour into the background (3, P), except where the floor hides it."""
    shown = np.ones(len(directions), dtype=bool)
    shown[hidden] = False
    rows = np.flatnonzero(shown)
    weights = texture.weights(directions[rows])
    for channel, second in zip(sky, texture.second, strict=True):
        channel[rows] += weights * (second - channel[rows])
