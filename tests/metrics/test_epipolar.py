"""Epipolar figures against a literal computation, and what they see of faults whose order is known."""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.metrics.epipolar import (
    epipolar_figures,
    find_features,
    fundamental_matrix,
    match_features,
    neighbours,
    symmetric_distances,
    tsed,
)
from qnerf.scenes.cameras import Cameras

VIEWS, SIZE, FOCAL = 6, 128, 150.0


def arc(count: int = VIEWS, size: int = SIZE) -> Cameras:
    """Cameras 8° apart on an arc, 3 units from the origin, which they look at, along -y."""
    poses = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    for view in range(count):
        angle, lift = math.radians(8 * (view - count / 2)), 0.1 * (-1) ** view
        back = torch.tensor([math.sin(angle), -math.cos(angle), lift], dtype=torch.float64)
        back = back / back.norm()
        right = torch.linalg.cross(back.new_tensor([0.0, 0.0, 1.0]), back)
        right = right / right.norm()
        poses[view, :3, :3] = torch.stack([right, torch.linalg.cross(back, right), back], dim=1)
        poses[view, :3, 3] = 3 * back
    focal = FOCAL * poses.new_tensor([1.0, 1.1]).repeat(count, 1)
    return Cameras(poses, focal, poses.new_tensor([size / 2 + 2.0, size / 2 - 3.0]).repeat(count, 1), size, size)


@cache
def textures(seed: int) -> list[np.ndarray]:
    """Two colour textures (512, 512, 3) in [0, 1] with coarse and fine grain."""
    random = np.random.default_rng(seed)
    grains = [[random.random((n, n, 3)) for n in (8, 24, 64)] for _ in range(2)]
    enlarged = [[cv2.resize(each, (512, 512), interpolation=cv2.INTER_CUBIC) for each in some] for some in grains]
    return [np.mean(some, axis=0) for some in enlarged]


def trace(seed: int, view: int) -> Tensor:
    """A view (3, H, W) of two textured walls that meet on the z axis, ray by ray."""
    rays = arc()[[view]].token_rays(SIZE, SIZE)
    origins, directions = rays.origins[0].numpy(), rays.directions[0].numpy()
    image = np.zeros((SIZE, SIZE, 3))
    for texture, sign in zip(textures(seed), (1, -1), strict=True):
        normal = np.array([0.5 * sign, -1.0, 0.0])  # the plane normal · x = 0, of which the half with sign · x >= 0 is wall
        reach = -(origins @ normal) / (directions @ normal)
        x, _, z = np.moveaxis(origins + reach[..., None] * directions, -1, 0)
        seen = (reach > 0) & (sign * x >= 0)
        across, down = (((coordinate + 2) * 128).astype(np.float32) for coordinate in (x, z))
        image[seen] = cv2.remap(texture, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)[seen]
    return torch.from_numpy(image).permute(2, 0, 1).float()


@cache
def scene() -> Tensor:
    """All views (N, 3, H, W) of one scene."""
    return torch.stack([trace(0, view) for view in range(VIEWS)])


def literal_distance(cameras: Cameras, first: int, second: int, a: Tensor, b: Tensor) -> float:
    """SED of one match: the distance of each pixel from the other one's ray, projected at two places along it."""
    found = []
    for here, there, pixel, other in ((first, second, a, b), (second, first, b, a)):
        rays = cameras.rays(torch.tensor([here]), pixel[None])
        ends = torch.cat([rays.origins + reach * rays.directions for reach in (2.0, 4.0)])
        (x0, y0), (x1, y1) = cameras[[there]].project(ends)[0][0].tolist()
        x, y = other.tolist()
        found.append(abs((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / math.hypot(x1 - x0, y1 - y0))
    return sum(found) / 2


def test_distances_are_those_from_projected_rays() -> None:
    cameras, generator = arc(), torch.Generator().manual_seed(1)
    a, b = SIZE * torch.rand(2, 40, 2, generator=generator, dtype=torch.float64)
    for first, second in ((0, 1), (4, 2)):
        ours = symmetric_distances(fundamental_matrix(cameras, first, second), a.numpy(), b.numpy())
        literal = [literal_distance(cameras, first, second, p, q) for p, q in zip(a, b, strict=True)]
        assert ours == pytest.approx(literal, abs=1e-6)


def test_tsed_is_the_share_of_pairs_as_yu_et_al_count_them() -> None:
    images, cameras = scene()[:4], arc()[:4]
    features = [find_features(image) for image in images]
    consistent = 0
    pairs = neighbours(cameras)
    for first, second in pairs:
        matches = match_features(features[first], features[second])
        points = [torch.from_numpy(features[v].points[matches[:, i]]) for i, v in enumerate((first, second))]
        distances = [literal_distance(cameras, first, second, p, q) for p, q in zip(*points, strict=True)]
        consistent += len(distances) >= 10 and np.median(distances) < 0.041
    figures = epipolar_figures(images, cameras, largest_error=0.041)
    assert 0 < consistent < len(pairs)
    assert figures["tsed"] == pytest.approx(consistent / len(pairs), abs=1e-6)


def test_a_pair_needs_matches_and_a_small_median() -> None:
    few, good, bad = np.zeros(9), np.array([0.1] * 6 + [50.0] * 5), np.array([0.1] * 5 + [2.0] * 6)
    assert tsed([few, good, bad, np.empty(0)], 2.0, 10) == 0.25


def test_neighbours_are_the_nearest_cameras_whatever_their_order() -> None:
    cameras = arc()[[0, 3, 1, 4, 2]]
    named = {tuple(sorted((i, j))) for i, j in ((0, 2), (2, 4), (4, 1), (1, 3))}
    assert named <= set(neighbours(cameras))
    assert (0, 3) not in neighbours(cameras)
    assert neighbours(arc(2)) == [(0, 1)]


def test_figures_fall_in_the_order_of_the_faults() -> None:
    """True views, jittered by 1 and 2 pixels, of different scenes: the error grows. Blur and noise leave no matches."""
    images, generator = scene(), torch.Generator().manual_seed(3)
    shifts = torch.tensor([[0, 1], [1, 0], [0, -1], [-1, 0], [1, 0], [0, 1]])

    def jittered(pixels: int) -> Tensor:
        pairs = zip(images, (pixels * shifts).tolist(), strict=True)
        return torch.stack([image.roll((down, right), (1, 2)) for image, (down, right) in pairs])

    def blurred(sigma: float) -> Tensor:
        views = [cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (0, 0), sigma) for image in images]
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)

    others = torch.stack([trace(view, view) for view in range(VIEWS)])
    faults = {
        "true": images, "1 px": jittered(1), "2 px": jittered(2), "different": others,
        "blurred": blurred(3), "noise": torch.rand(images.shape, generator=generator),
    }  # fmt: skip
    found = {name: epipolar_figures(views, arc()) for name, views in faults.items()}
    errors = [found[name]["epipolar_error"] for name in ("true", "1 px", "2 px")]
    assert errors == sorted(errors)
    assert errors[0] < 0.1 < 0.5 < errors[1]
    assert found["true"]["tsed"] == 1.0
    assert found["different"]["tsed"] == found["noise"]["tsed"] == 0.0
    matches = [found[name]["epipolar_matches"] for name in ("true", "2 px", "blurred", "noise")]
    assert matches == sorted(matches, reverse=True)
    assert matches[2] < 0.5 * matches[0]
    assert max(matches[3], found["different"]["epipolar_matches"]) < 1


def test_views_without_any_feature_have_no_error() -> None:
    figures = epipolar_figures(torch.full((3, 3, 64, 64), 0.5), arc(3, 64))
    assert figures["tsed"] == figures["epipolar_matches"] == 0.0
    assert math.isnan(figures["epipolar_error"])
    assert math.isnan(figures["epipolar_inliers"])
