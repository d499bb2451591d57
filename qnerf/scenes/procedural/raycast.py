"""An analytic ray caster for capsules and spheres on a patterned floor before a background.

All rays of an image start at one point, so that each solid costs two dot products a ray; and each solid only looks at
the rectangle of pixels that its bounding sphere covers. Intersections: I. Quilez, "Capsule intersection".
Images are rendered at `SUPERSAMPLING` times the size and box-filtered; the ground-truth maps are sampled at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnerf.scenes.procedural.figure import Primitive

SUPERSAMPLING = 2
FAR = 1e4


@dataclass(frozen=True)
class PinholeView:
    """One camera in numpy: camera_to_world (4, 4) with OpenGL axes, focal length in pixels (square pixels), size in pixels."""

    camera_to_world: np.ndarray
    focal: float
    size: int

    def directions(self, size: int) -> np.ndarray:
        """(size * size, 3) unit directions through the pixel centres of an image of size x size."""
        axis = (np.arange(size, dtype=np.float32) + 0.5) * (self.size / size) - self.size / 2
        x, y = np.meshgrid(axis / self.focal, -axis / self.focal)
        local = np.stack([x, y, -np.ones_like(x)], axis=-1).reshape(-1, 3)
        local /= np.linalg.norm(local, axis=-1, keepdims=True)
        return local @ self.camera_to_world[:3, :3].T.astype(np.float32)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (P, 3) to pixels (P, 2) and z_depth (P,)."""
        local = (points - self.camera_to_world[:3, 3]) @ self.camera_to_world[:3, :3]
        z_depth = np.maximum(-local[:, 2], 1e-6)
        xy = local[:, :2] / z_depth[:, None] * [self.focal, -self.focal]
        return xy + self.size / 2, -local[:, 2]


@dataclass(frozen=True)
class Surroundings:
    """Floor, background and light.

    pattern: "plain", "checker", "stripes", "dots" or "rings", of period metres, turned by angle, mixing floor into floor_second.
    light: (3,) unit vector towards the lamp. ambient: share of light that does not come from the lamp, 0 to 1.
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


@dataclass(frozen=True)
class Paint:
    """Colour of a part: base, and where stripes > 0 a second colour in bands of that period, metres, along the solid's axis."""

    base: np.ndarray
    second: np.ndarray
    stripes: float


def intersect(origin: np.ndarray, directions: np.ndarray, solid: Primitive) -> np.ndarray:
    """Distances (P,) at which unit rays from one origin meet a capsule, FAR where they miss."""
    axis, to_start = (solid.end - solid.start).astype(np.float32), (origin - solid.start).astype(np.float32)
    radius_squared = solid.radius**2
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
    to_end = (origin - solid.end).astype(np.float32)
    at_start = position <= 0
    cap_b = np.where(at_start, along_start, directions @ to_end)
    cap_c = np.where(at_start, to_start @ to_start, to_end @ to_end) - radius_squared
    on_body = (position > 0) & (position < axis_squared)
    distance = np.where(on_body, body, _nearest_root(cap_b, cap_c))
    return np.where((discriminant >= 0) & (distance > 0), distance, FAR)


def _nearest_root(b: np.ndarray, c: np.ndarray | float) -> np.ndarray:
    """The smaller root of t² + 2bt + c = 0, FAR where there is none ahead."""
    discriminant = b * b - c
    root = -b - np.sqrt(np.maximum(discriminant, 0))
    return np.where((discriminant >= 0) & (root > 0), root, FAR)


def cast(view: PinholeView, solids: list[Primitive], size: int, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest solid along each ray of a size x size image: distance (size², ) (FAR for none) and index (-1 for none)."""
    origin = view.camera_to_world[:3, 3]
    depth = np.full((size, size), FAR, dtype=np.float32)
    nearest = np.full((size, size), -1, dtype=np.int16)
    grid = directions.reshape(size, size, 3)
    for index, solid in enumerate(solids):
        window = _bounding_window(view, solid, size)
        if window is None:
            continue
        rays = grid[window]
        distance = intersect(origin, rays.reshape(-1, 3), solid).reshape(rays.shape[:2])
        closer = distance < depth[window]
        depth[window][closer] = distance[closer]
        nearest[window][closer] = index
    return depth.reshape(-1), nearest.reshape(-1)


def _bounding_window(view: PinholeView, solid: Primitive, size: int) -> tuple[slice, slice] | None:
    """Rows and columns that a solid can cover, None where it is out of the picture."""
    pixels, z_depth = view.project(np.stack([solid.start, solid.end]))
    if z_depth.min() <= solid.radius:
        return slice(0, size), slice(0, size)
    # 1.15: a sphere off the optical axis projects to an ellipse that is a little longer than its radius.
    reach = 1.15 * view.focal * solid.radius / (z_depth - solid.radius) + 1
    low = ((pixels - reach[:, None]).min(axis=0) * size / view.size).astype(int)
    high = ((pixels + reach[:, None]).max(axis=0) * size / view.size).astype(int) + 1
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    if (low >= high).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])


def floor_pattern(points: np.ndarray, around: Surroundings) -> np.ndarray:
    """Weight (P,) of the floor's second colour at floor points (P, 2)."""
    cos, sin = np.float32(np.cos(around.angle) / around.period), np.float32(np.sin(around.angle) / around.period)
    u, v = points[:, 0] * cos - points[:, 1] * sin, points[:, 0] * sin + points[:, 1] * cos
    if around.pattern == "checker":
        return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    if around.pattern == "stripes":
        return (np.floor(u) % 2).astype(np.float32)
    if around.pattern == "dots":
        return ((u - np.floor(u) - 0.5) ** 2 + (v - np.floor(v) - 0.5) ** 2 < 0.09).astype(np.float32)
    if around.pattern == "rings":
        return (np.floor(np.sqrt(u * u + v * v)) % 2).astype(np.float32)
    return np.zeros(len(points), dtype=np.float32)


class ContactShadow:
    """Soft shadow of the solids on the floor, tabulated once for all views on a grid of the floor's middle.

    Each solid's two ends are projected along the light; its shadow fades over a border that grows with its height.
    """

    HALF, CELLS = 2.5, 80

    def __init__(self, solids: list[Primitive], light: np.ndarray) -> None:
        axis = np.linspace(-self.HALF, self.HALF, self.CELLS, dtype=np.float32)
        points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        shade = np.zeros(len(points), dtype=np.float32)
        for solid in solids:
            start, end = (p[:2] - light[:2] / light[2] * p[2] for p in (solid.start, solid.end))
            height = min(solid.start[2], solid.end[2])
            border = 0.04 + 0.25 * max(height, 0.0)
            gap = _distance_to_segment(points, start.astype(np.float32), end.astype(np.float32)) - solid.radius
            edge = np.clip(0.5 - gap / (2 * border), 0, 1)
            np.maximum(shade, edge * edge * (3 - 2 * edge) / (1 + 0.35 * height), out=shade)
        self.table = shade.reshape(self.CELLS, self.CELLS)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Darkness (P,) in [0, 1] at floor points (P, 2), bilinear."""
        cell = (points + self.HALF) * ((self.CELLS - 1) / (2 * self.HALF))
        cell = np.clip(cell, 0, self.CELLS - 1.001)  # the table's border is out of every shadow's reach
        low = cell.astype(np.int32)
        (u, v), (i, j) = (cell - low.astype(np.float32)).T, low.T
        t = self.table
        return (t[i, j] * (1 - u) + t[i + 1, j] * u) * (1 - v) + (t[i, j + 1] * (1 - u) + t[i + 1, j + 1] * u) * v


def _distance_to_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    # Coordinate by coordinate: numpy reduces an axis of length two slowly, and this runs for every solid of every scene.
    x, y = points[:, 0] - start[0], points[:, 1] - start[1]
    axis = end - start
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    x, y = x - along * axis[0], y - along * axis[1]
    return np.sqrt(x * x + y * y)


def render(
    view: PinholeView,
    solids: list[Primitive],
    paints: dict[str, Paint],
    around: Surroundings,
    shadow: ContactShadow,
) -> np.ndarray:
    """The image (3, S, S), float32 in [0, 1], of one view. paints: by `Primitive.part`."""
    size = view.size * SUPERSAMPLING
    directions = view.directions(size)
    depth, nearest = cast(view, solids, size, directions)
    colour = shade_surroundings(view.camera_to_world[:3, 3], directions, around, shadow)
    for index, solid in enumerate(solids):
        seen = np.flatnonzero(nearest == index)
        if len(seen):
            points = view.camera_to_world[:3, 3].astype(np.float32) + depth[seen, None] * directions[seen]
            colour[seen] = shade_solid(points, directions[seen], solid, paints[solid.part], around)
    return np.clip(box_filter(colour, view.size), 0, 1)


def box_filter(colour: np.ndarray, size: int) -> np.ndarray:
    """Supersampled colours (rows * columns, 3) to an image (3, size, size)."""
    grid = colour.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3)
    samples = [grid[:, i, :, j] for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)]
    return np.ascontiguousarray((sum(samples[1:], samples[0]) / len(samples)).transpose(2, 0, 1), dtype=np.float32)


def geometry(view: PinholeView, solids: list[Primitive]) -> tuple[np.ndarray, np.ndarray]:
    """The truth at pixel centres: depth (S, S) along the unit rays (floor included, FAR for the background), and the index
    (S, S) of the solid seen, -1 for none."""
    directions = view.directions(view.size)
    depth, nearest = cast(view, solids, view.size, directions)
    downwards = np.minimum(directions[:, 2], -1e-6)
    to_floor = np.where(directions[:, 2] < -1e-6, -view.camera_to_world[2, 3] / downwards, FAR)
    return (
        np.minimum(depth, to_floor).astype(np.float32).reshape(view.size, view.size),
        nearest.reshape(view.size, view.size),
    )


def shade_surroundings(origin: np.ndarray, directions: np.ndarray, around: Surroundings, shadow: ContactShadow) -> np.ndarray:
    """Colours (P, 3) of floor and background; the floor fades into the background between 2.5 and 5 m from the middle."""
    sky = around.background * (1 + around.gradient * directions[:, 2:3])
    below = np.flatnonzero(directions[:, 2] < -0.02)
    if not len(below):
        return sky
    rays = directions[below]
    points = origin[:2].astype(np.float32) - (np.float32(origin[2]) / rays[:, 2:3]) * rays[:, :2]
    fade = np.clip((np.sqrt(points[:, 0] ** 2 + points[:, 1] ** 2) - 2.5) / 2.5, 0, 1)
    near = fade < 1
    below, points, fade = below[near], points[near], fade[near, None]
    second = floor_pattern(points, around)[:, None]
    lit = around.ambient + (1 - around.ambient) * (0.35 + 0.65 * around.light[2])
    floor = (around.floor + second * (around.floor_second - around.floor)) * (lit * (1 - 0.55 * shadow(points)[:, None]))
    sky[below] += (1 - fade) * (floor - sky[below])
    return sky


def shade_solid(points: np.ndarray, directions: np.ndarray, solid: Primitive, paint: Paint, around: Surroundings) -> np.ndarray:
    """Colours (P, 3) of surface points: wrapped Lambert shading, and a rim darkened as a silhouette's pixels are."""
    axis = (solid.end - solid.start).astype(np.float32)
    offset = points - solid.start.astype(np.float32)
    along = np.clip(offset @ axis / max(float(axis @ axis), 1e-9), 0, 1)
    normal = (offset - along[:, None] * axis) / np.float32(solid.radius)
    diffuse = np.clip(0.35 + 0.65 * (normal @ around.light.astype(np.float32)), 0, 1)
    facing = np.clip(-(normal * directions).sum(axis=1), 0, 1)
    light = (around.ambient + (1 - around.ambient) * diffuse) * (0.72 + 0.28 * np.sqrt(facing))
    base = np.broadcast_to(paint.base, points.shape)
    if paint.stripes > 0:
        position = offset @ (axis / max(float(np.linalg.norm(axis)), 1e-6)) if axis @ axis > 1e-9 else offset[:, 2]
        base = np.where((np.floor(position / paint.stripes) % 2 == 0)[:, None], base, paint.second)
    return (base * light[:, None]).astype(np.float32)
