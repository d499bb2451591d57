"""Solids that a ray meets in closed form: capsules, boxes with rounded edges, cut cones.

Rays of an image share their origin, so that a solid costs a few dot products a ray. Arithmetic on rays is float32. The
procedural world is built of these, and so is what bounds an object loosely (`loose_depth`).
Intersections: I. Quilez, "Intersectors" (iquilezles.org/articles/intersectors).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

FAR = 1e4  # the distance of what a ray does not meet, metres
ROUNDING = 0.05  # of boxes that bound, times their least half size
_CORNERS = np.array([[1.0 if corner & 1 << axis else -1.0 for axis in range(3)] for corner in range(8)])


class Solid(Protocol):
    """part: what the solid belongs to, for colours."""

    @property
    def part(self) -> str: ...

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distances (P,) at which unit rays (P, 3) from one origin (3,) outside the solid meet it, FAR where they miss."""
        ...

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Outward unit normals (P, 3) at points of the surface (P, 3)."""
        ...

    def along(self, points: np.ndarray) -> np.ndarray:
        """How far along the solid's own axis points (P, 3) lie, (P,) metres: where its stripes are."""
        ...

    def hull(self) -> tuple[np.ndarray, float]:
        """Points (K, 3) and a radius: balls of that radius round the points have a convex hull that contains the solid."""
        ...


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of the segment from start to end, (3,) each; a sphere where they coincide."""

    start: np.ndarray
    end: np.ndarray
    radius: float
    part: str

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        axis, to_start = (self.end - self.start).astype(np.float32), (origin - self.start).astype(np.float32)
        radius_squared = self.radius**2
        along_start = directions @ to_start
        if axis @ axis < 1e-9:
            return _nearest_root(along_start, to_start @ to_start - radius_squared)
        axis_squared, origin_on_axis = axis @ axis, to_start @ axis
        ray_on_axis = directions @ axis
        a = np.maximum(axis_squared - ray_on_axis**2, 1e-9)
        b = axis_squared * along_start - origin_on_axis * ray_on_axis
        c = axis_squared * (to_start @ to_start - radius_squared) - origin_on_axis**2
        discriminant = b * b - a * c
        body = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
        position = origin_on_axis + body * ray_on_axis
        to_end = (origin - self.end).astype(np.float32)
        at_start = position <= 0
        cap_b = np.where(at_start, along_start, directions @ to_end)
        cap_c = np.where(at_start, to_start @ to_start, to_end @ to_end) - radius_squared
        on_body = (position > 0) & (position < axis_squared)
        distance = np.where(on_body, body, _nearest_root(cap_b, cap_c))
        return np.where((discriminant >= 0) & (distance > 0), distance, FAR)

    def normals(self, points: np.ndarray) -> np.ndarray:
        axis = (self.end - self.start).astype(np.float32)
        offset = points - self.start.astype(np.float32)
        along = np.clip(offset @ axis / max(float(axis @ axis), 1e-9), 0, 1)
        return (offset - along[:, None] * axis) / np.float32(self.radius)

    def along(self, points: np.ndarray) -> np.ndarray:
        axis = (self.end - self.start).astype(np.float32)
        offset = points - self.start.astype(np.float32)
        return offset @ (axis / max(float(np.linalg.norm(axis)), 1e-6)) if axis @ axis > 1e-9 else offset[:, 2]

    def hull(self) -> tuple[np.ndarray, float]:
        return np.stack([self.start, self.end]), self.radius


@dataclass(frozen=True)
class Box:
    """A box about centre (3,) of half sizes half (3,), rounding included; the columns of turn (3, 3) are its axes.

    radius: of its rounded edges, above 0 and at most the least half size.
    """

    centre: np.ndarray
    half: np.ndarray
    turn: np.ndarray
    radius: float
    part: str

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        start = ((origin - self.centre) @ self.turn).astype(np.float32)[:, None]
        rays = np.ascontiguousarray((directions @ self.turn.astype(np.float32)).T)
        rays = np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
        half = self.half.astype(np.float32)[:, None]
        middle, reach = -start / rays, half / np.abs(rays)
        first, last = middle - reach, middle + reach
        near = np.maximum(np.maximum(first[0], first[1]), first[2])
        far = np.minimum(np.minimum(last[0], last[1]), last[2])
        hit = (near <= far) & (near > 0)
        entry = start + near * rays
        x, y, z = np.abs(entry) > half - np.float32(self.radius)
        rounded = np.flatnonzero(hit & ((x & y) | (y & z) | (z & x)))
        distance = np.where(hit, near, np.float32(FAR))
        distance[rounded] += self._to_rounding(entry[:, rounded], rays[:, rounded])
        return np.minimum(distance, FAR)

    def _to_rounding(self, entry: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """From where rays (3, P) enter the sharp box beside an edge: the distance to the edge's rounding, FAR if none.

        By symmetry all happens in the corner of positive coordinates: its ball, and the three cylinders that end in it.
        """
        flip = np.where(entry < 0, np.float32(-1), np.float32(1))
        inner = (self.half - self.radius).astype(np.float32)[:, None]
        rays, offset = rays * flip, entry * flip - inner
        squares, products, slopes = offset**2, offset * rays, rays**2
        radius_squared = np.float32(self.radius**2)
        # Where the rounding begins the entry lies on it, and float32 may put the root a hair before it.
        slack = np.float32(-0.1 * self.radius)
        best = _nearest_root(products.sum(axis=0), squares.sum(axis=0) - radius_squared, slack)
        for axis in range(3):
            a, b, c = (terms.sum(axis=0) - terms[axis] for terms in (slopes, products, squares))
            discriminant = b * b - a * (c - radius_squared)
            root = (-b - np.sqrt(np.maximum(discriminant, 0))) / np.maximum(a, 1e-9)
            position = offset[axis] + root * rays[axis]  # 0 at this end of the cylinder, -2 inner at the other
            met = (discriminant >= 0) & (root > slack) & (position < 0) & (position > -2 * inner[axis])
            best = np.where(met, np.minimum(best, root), best)
        return best

    def normals(self, points: np.ndarray) -> np.ndarray:
        local = (points - self.centre.astype(np.float32)) @ self.turn.astype(np.float32)
        inner = (self.half - self.radius).astype(np.float32)
        beyond = local - np.clip(local, -inner, inner)
        length = np.sqrt((beyond * beyond).sum(axis=1, keepdims=True))
        return (beyond / np.maximum(length, 1e-9)) @ self.turn.T.astype(np.float32)

    def along(self, points: np.ndarray) -> np.ndarray:
        return (points - self.centre.astype(np.float32)) @ self.turn[:, 0].astype(np.float32)

    def hull(self) -> tuple[np.ndarray, float]:
        return self.centre + (_CORNERS * (self.half - self.radius)) @ self.turn.T, self.radius


@dataclass(frozen=True)
class Cone:
    """A cone cut off at start and end, (3,) each, with flat ends of these radii, metres; a cylinder where they are equal."""

    start: np.ndarray
    end: np.ndarray
    start_radius: float
    end_radius: float
    part: str

    @property
    def length(self) -> float:
        return float(np.linalg.norm(self.end - self.start))

    @property
    def slope(self) -> float:
        """By how much the radius shrinks a metre."""
        return (self.start_radius - self.end_radius) / self.length

    def intersect(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The least of the distances to the two flat ends and to the mantle, |p|² - y² = (r - s y)² at height y."""
        axis = ((self.end - self.start) / self.length).astype(np.float32)
        offset = (origin - self.start).astype(np.float32)
        height, climb = float(offset @ axis), directions @ axis
        lean, radius = 1 + self.slope**2, self.start_radius
        a = 1 - climb * climb * np.float32(lean)
        b = directions @ offset - climb * np.float32(height * lean - radius * self.slope)
        c = float(offset @ offset) - height**2 * lean + 2 * radius * self.slope * height - radius**2
        discriminant = b * b - a * np.float32(c)
        root, safe = np.sqrt(np.maximum(discriminant, 0)), np.where(np.abs(a) < 1e-7, np.float32(1e-7), a)
        best = np.full(len(directions), FAR, dtype=np.float32)
        for distance in ((-b - root) / safe, (-b + root) / safe):
            y = height + distance * climb
            met = (discriminant >= 0) & (distance > 0) & (y >= 0) & (y <= self.length)
            best = np.where(met, np.minimum(best, distance), best)
        for end, reach in ((0.0, self.start_radius), (self.length, self.end_radius)):
            distance = np.float32(end - height) / np.where(np.abs(climb) < 1e-7, np.float32(1e-7), climb)
            x, y, z = (offset + distance[:, None] * directions).T
            away_squared = x * x + y * y + z * z - np.float32(end * end)
            best = np.where((distance > 0) & (away_squared <= reach**2), np.minimum(best, distance), best)
        return best

    def normals(self, points: np.ndarray) -> np.ndarray:
        axis = ((self.end - self.start) / self.length).astype(np.float32)
        offset = points - self.start.astype(np.float32)
        y = offset @ axis
        out = offset - y[:, None] * axis
        radius = np.sqrt((out * out).sum(axis=1))
        mantle = (out / np.maximum(radius, 1e-6)[:, None] + np.float32(self.slope) * axis) / np.float32(np.hypot(1, self.slope))
        to_ends = np.minimum(np.abs(y), np.abs(self.length - y))
        to_mantle = np.abs(radius - (self.start_radius - self.slope * y))
        flat = np.where((y < self.length / 2)[:, None], -axis, axis)
        return np.where((to_ends < to_mantle)[:, None], flat, mantle)

    def along(self, points: np.ndarray) -> np.ndarray:
        return (points - self.start.astype(np.float32)) @ ((self.end - self.start) / self.length).astype(np.float32)

    def hull(self) -> tuple[np.ndarray, float]:
        return np.stack([self.start, self.end]), max(self.start_radius, self.end_radius)


def _nearest_root(b: np.ndarray, c: np.ndarray | float, least: float | np.float32 = 0.0) -> np.ndarray:
    """The smaller root of t² + 2bt + c = 0, FAR where there is none above `least`."""
    discriminant = b * b - c
    root = -b - np.sqrt(np.maximum(discriminant, 0))
    return np.where((discriminant >= 0) & (root > least), root, FAR)
