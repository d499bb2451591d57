"""A point in space from where views see it: RANSAC over pairs of views, then the least reprojection error
(Hartley and Zisserman 2004, §12). Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

LEAST_ANGLE = np.radians(2.0)  # between the rays of a pair: nearly parallel rays meet anywhere
MOST_PAIRS = 2000
STEPS = 20


@dataclass(frozen=True)
class Sighting:
    """Where views see a point. poses: (V, 4, 4) camera to world, OpenGL's axes. points: (V, 2) on the plane z
    = 1 of OpenCV's axes. focal: (V,) pixels. weights: (V,) ≥ 0, the confidences."""

    poses: np.ndarray
    points: np.ndarray
    focal: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.poses)

    def some(self, rows: np.ndarray) -> Sighting:
        return Sighting(self.poses[rows], self.points[rows], self.focal[rows], self.weights[rows])


@dataclass(frozen=True)
class Found:
    """point: (3,) world. used: (V,) bool, the views that agree. errors: (V,) pixels of all views, infinite
    behind a camera."""

    point: np.ndarray
    used: np.ndarray
    errors: np.ndarray

    @property
    def error(self) -> float:
        """Root mean square over the views that agree, pixels."""
        return float(np.sqrt(np.mean(self.errors[self.used] ** 2)))


def triangulate(seen: Sighting, tolerance: float, seed: int = 0) -> Found | None:
    """The point that most views agree on within a tolerance in pixels (of these, with the least error),
    refined over them; None where not two agree whose rays are apart by `LEAST_ANGLE`."""
    rays = _rays(seen)
    pairs = [pair for pair in combinations(range(len(seen)), 2) if _apart(rays, *pair)]
    if len(pairs) > MOST_PAIRS:
        chosen = np.random.default_rng(seed).choice(len(pairs), MOST_PAIRS, replace=False)
        pairs = [pairs[index] for index in chosen]
    best: tuple[float, float] = (-1.0, 0.0)
    found: Found | None = None
    for pair in pairs:
        point = _nearest(seen.poses[list(pair), :3, 3], rays[list(pair)])
        errors = reprojection(seen, point)
        used = errors <= tolerance
        score = (float(seen.weights[used].sum()), -float(np.square(errors[used]).sum()))
        if used.sum() >= 2 and score > best:
            best, found = score, Found(point, used, errors)
    if found is None:
        return None
    for _ in range(3):  # the refined point may gain views, or lose some
        point = refine(seen.some(found.used), found.point)
        errors = reprojection(seen, point)
        used = errors <= tolerance
        if used.sum() < 2 or not any(_apart(rays, a, b) for a, b in combinations(np.flatnonzero(used), 2)):
            break
        same = np.array_equal(used, found.used)
        found = Found(point, used, errors)
        if same:
            break
    return found


def refine(seen: Sighting, point: np.ndarray) -> np.ndarray:
    """The point (3,) of the least weighted sum of squared reprojection errors, by Gauss-Newton from a near
    one."""
    scale = seen.focal * np.sqrt(seen.weights)
    for _ in range(STEPS):
        local = _local(seen, point)
        depth = local[:, 2]
        if (depth <= 0).any():
            return point
        residual = (local[:, :2] / depth[:, None] - seen.points) * scale[:, None]
        turn = _to_camera(seen)
        slope = (turn[:, :2] - (local[:, :2] / depth[:, None])[:, :, None] * turn[:, 2:3]) / depth[:, None, None]
        slope = (slope * scale[:, None, None]).reshape(-1, 3)
        step = np.linalg.lstsq(slope, -residual.ravel(), rcond=None)[0]
        point = point + step
        if np.linalg.norm(step) <= 1e-12 * (1 + np.linalg.norm(point)):
            break
    return point


def reprojection(seen: Sighting, point: np.ndarray) -> np.ndarray:
    """Distances (V,) in pixels between where views see the point and where it is; infinite where it lies
    behind a camera."""
    local = _local(seen, point)
    ahead = local[:, 2] > 0
    flat = local[:, :2] / np.where(ahead, local[:, 2], 1.0)[:, None]
    return np.where(ahead, np.linalg.norm(flat - seen.points, axis=1) * seen.focal, np.inf)


def _to_camera(seen: Sighting) -> np.ndarray:
    """Rotations (V, 3, 3) from the world to OpenCV's axes."""
    return np.diag([1.0, -1.0, -1.0]) @ seen.poses[:, :3, :3].transpose(0, 2, 1)


def _local(seen: Sighting, point: np.ndarray) -> np.ndarray:
    return np.einsum("vij,vj->vi", _to_camera(seen), point - seen.poses[:, :3, 3])


def _rays(seen: Sighting) -> np.ndarray:
    """Unit directions (V, 3) in the world."""
    local = np.concatenate([seen.points, np.ones((len(seen), 1))], axis=1)
    rays = np.einsum("vji,vj->vi", _to_camera(seen), local)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _apart(rays: np.ndarray, first: int, second: int) -> bool:
    return abs(float(rays[first] @ rays[second])) < np.cos(LEAST_ANGLE)


def _nearest(origins: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """The point (3,) nearest to some rays."""
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    return np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, origins))
