"""Closed-form intersections and normals against sphere tracing of the solids' distance functions: slow and obvious."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from qnerf.scenes.solids import FAR, Box, Capsule, Cone, Solid

ORIGIN = np.array([4.0, 1.0, 0.5])
KINDS = ("sphere", "capsule", "box", "cone", "cylinder")


def random_turn(rng: np.random.Generator) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn * np.sign(np.linalg.det(turn))


def random_solid(kind: str, rng: np.random.Generator) -> Solid:
    at, end, radius = rng.normal(size=3) * 0.5, rng.normal(size=3) * 0.8, rng.uniform(0.2, 0.5)
    if kind == "box":
        half = rng.uniform(0.2, 0.7, 3)
        return Box(at, half, random_turn(rng), rng.uniform(0.1, 0.9) * half.min(), "x")
    if kind in ("cone", "cylinder"):
        return Cone(at, at + end, radius, radius if kind == "cylinder" else rng.uniform(0.05, 0.6), "x")
    return Capsule(at, at if kind == "sphere" else at + end, radius, "x")


def distance(point: np.ndarray, solid: Solid) -> float:
    """Signed distance of a point (3,) from the solid's surface, or for a cone's inside any negative number."""
    if isinstance(solid, Capsule):
        axis = solid.end - solid.start
        along = np.clip((point - solid.start) @ axis / max(axis @ axis, 1e-12), 0, 1)
        return float(np.linalg.norm(point - solid.start - along * axis)) - solid.radius
    if isinstance(solid, Box):
        beyond = np.abs((point - solid.centre) @ solid.turn) - (solid.half - solid.radius)
        return float(np.linalg.norm(np.maximum(beyond, 0)) + min(beyond.max(), 0.0)) - solid.radius
    assert isinstance(solid, Cone)
    axis = (solid.end - solid.start) / solid.length
    y = float((point - solid.start) @ axis)
    out = float(np.linalg.norm(point - solid.start - y * axis))
    corners = [(0.0, 0.0), (0.0, solid.start_radius), (solid.length, solid.end_radius), (solid.length, 0.0)]
    gaps = [to_segment(np.array([y, out]), np.array(a), np.array(b)) for a, b in pairwise(corners)]
    inside = 0 < y < solid.length and out < solid.start_radius - solid.slope * y
    return -min(gaps) if inside else min(gaps)


def to_segment(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    along = np.clip((point - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
    return float(np.linalg.norm(point - a - along * (b - a)))


def march(direction: np.ndarray, solid: Solid) -> float:
    t = 0.0
    for _ in range(2000):
        gap = distance(ORIGIN + t * direction, solid)
        if gap < 1e-6:
            return t
        t += gap
        if t > 20:
            break
    return FAR


def rays_at(solid: Solid, rng: np.random.Generator, count: int) -> np.ndarray:
    points, radius = solid.hull()
    weights = rng.dirichlet(np.ones(len(points)), count)
    aim = weights @ points + rng.normal(size=(count, 3)) * 0.6 * radius - ORIGIN
    return (aim / np.linalg.norm(aim, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_intersections_against_sphere_tracing(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    solid = random_solid(kind, rng)
    directions = rays_at(solid, rng, 80)
    fast = solid.intersect(ORIGIN, directions)
    slow = np.array([march(ray.astype(float), solid) for ray in directions])
    hit = slow < FAR
    assert hit.sum() > 10
    assert ((fast < FAR) == hit).mean() > 0.96  # rays that graze the surface may go either way in float32
    both = hit & (fast < FAR)
    np.testing.assert_allclose(fast[both], slow[both], atol=2e-2)
    assert np.median(np.abs(fast[both] - slow[both])) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_normals_are_the_distance_functions_gradient(kind: str, seed: int) -> None:
    rng = np.random.default_rng([seed, KINDS.index(kind), 1])
    solid = random_solid(kind, rng)
    directions = rays_at(solid, rng, 60)
    fast = solid.intersect(ORIGIN, directions)
    seen = fast < FAR
    points = ORIGIN + fast[seen, None] * directions[seen]
    normals = solid.normals(points.astype(np.float32))
    steps = 1e-3 * np.eye(3)
    slow = np.array([[distance(p + s, solid) - distance(p - s, solid) for s in steps] for p in points]) / 2e-3
    smooth = np.linalg.norm(slow, axis=1) > 0.99  # not at the sharp rim of a cone
    assert smooth.mean() > 0.9
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    assert (np.einsum("ij,ij->i", normals, slow)[smooth] > 0.99).mean() > 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_the_hull_contains_the_solid(kind: str) -> None:
    """In any direction the solid reaches no farther than the farthest point of its hull plus the radius."""
    rng = np.random.default_rng(KINDS.index(kind))
    solid = random_solid(kind, rng)
    directions = rays_at(solid, rng, 400)
    fast = solid.intersect(ORIGIN, directions)
    surface = (ORIGIN + fast[:, None] * directions)[fast < FAR]
    points, radius = solid.hull()
    ways = rng.normal(size=(50, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    assert ((surface @ ways.T).max(axis=0) <= (points @ ways.T).max(axis=0) + radius + 1e-4).all()


def test_a_box_has_no_holes_where_its_rounding_begins() -> None:
    """Rays through the line between a flat face and the rounding beside it, as far as float32 can tell."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        half = rng.uniform(0.3, 0.8, 3)
        box = Box(np.zeros(3), half, random_turn(rng), 0.03, "x")
        count = 400
        along = rng.uniform(-0.9, 0.9, count) * (half[2] - 0.03)
        seam = np.stack([half[0] * np.ones(count), half[1] - 0.03 + rng.uniform(-2e-5, 2e-5, count), along], axis=1)
        origin = np.array([4.0, 2.5, 1.0]) @ box.turn.T
        aim = seam @ box.turn.T - origin
        distance = np.linalg.norm(aim, axis=1)
        np.testing.assert_allclose(box.intersect(origin, (aim / distance[:, None]).astype(np.float32)), distance, atol=1e-3)


def test_a_box_seen_along_its_axis_worked_by_hand() -> None:
    box = Box(np.zeros(3), np.array([1.0, 0.5, 0.25]), np.eye(3), 0.1, "x")
    rays = np.array([[-1.0, 0.0, 0.0]], dtype=np.float32)
    assert box.intersect(np.array([4.0, 0.0, 0.0]), rays)[0] == pytest.approx(3.0)
    beside = box.intersect(np.array([4.0, 0.45, 0.0]), rays)[0]  # meets the rounding half a radius beyond its centre
    assert beside == pytest.approx(3.0 + 0.1 - np.sqrt(0.1**2 - 0.05**2), abs=1e-5)
    assert box.intersect(np.array([4.0, 0.499, 0.249]), rays)[0] == FAR  # passes through the corner that was rounded off
