"""The warp error on a tilted plane worked by hand, against a double loop, and on hidden surfaces."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from qnerf.metrics.warp import warp_error
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.warping import sample_bilinear, surface_points

SIZE, FOCAL = 24, 24.0


def cameras_at(positions: list[list[float]]) -> Cameras:
    """Cameras that look along -z, upright."""
    poses = torch.eye(4).repeat(len(positions), 1, 1)
    poses[:, :3, 3] = torch.tensor(positions)
    count = len(positions)
    return Cameras(poses, torch.full((count, 2), FOCAL), torch.full((count, 2), SIZE / 2), SIZE, SIZE)


def plane_depth(cameras: Cameras, z: float) -> Tensor:
    """Distances to the plane at that z, (N, H, W)."""
    rays = cameras.token_rays(SIZE, SIZE)
    return (z - rays.origins[..., 2]) / rays.directions[..., 2]


@pytest.fixture
def pair() -> Cameras:
    """Two cameras 2 in front of the plane z = -2; 0.25 apart, which is 3 pixels on it."""
    return cameras_at([[0.0, 0.0, 0.0], [0.25, 0.0, 0.0]])


def ramp(cameras: Cameras, depth: Tensor) -> Tensor:
    """Colours that grow by 0.3 a world unit of x: 0.025 a pixel on the plane z = -2."""
    colour = 0.5 + 0.3 * surface_points(depth, cameras)[..., 0]
    return colour[:, None].repeat(1, 3, 1, 1)


def everywhere(cameras: Cameras) -> Tensor:
    return torch.ones(len(cameras), SIZE, SIZE, dtype=torch.bool)


def test_a_linear_pattern_warps_without_error(pair: Cameras) -> None:
    depth = plane_depth(pair, -2.0)
    mask = everywhere(pair)
    assert warp_error(ramp(pair, depth), depth, mask, mask, pair, 0.01) < 1e-6


@pytest.mark.parametrize("pixels", [1, 2])
def test_a_shifted_view_errs_by_the_slope_times_the_shift(pair: Cameras, pixels: int) -> None:
    depth = plane_depth(pair, -2.0)
    images = ramp(pair, depth)
    images[1] += 0.025 * pixels  # what the view shows when it is moved sideways
    mask = everywhere(pair)
    assert warp_error(images, depth, mask, mask, pair, 0.01) == pytest.approx(0.025 * pixels, abs=1e-6)


def test_only_counted_pixels_count(pair: Cameras) -> None:
    depth = plane_depth(pair, -2.0)
    images = ramp(pair, depth)
    images[1, :, :12] += 0.2
    mask, lower, upper = everywhere(pair), everywhere(pair), everywhere(pair)
    lower[:, :13], upper[:, 11:] = False, False
    assert warp_error(images, depth, mask, lower, pair, 0.01) < 1e-6
    assert warp_error(images, depth, mask, upper, pair, 0.01) == pytest.approx(0.2, abs=1e-6)


def test_what_the_neighbour_cannot_see_does_not_count(pair: Cameras) -> None:
    """A screen before the second camera hides all but its left columns, in which it sees the plane."""
    depth = plane_depth(pair, -2.0)
    images = ramp(pair, depth)
    depth[1, :, 8:] = 1.0
    images[1, :, :, 8:] = 1.0
    mask = everywhere(pair)
    counted = torch.stack([mask[0], torch.zeros_like(mask[1])])
    assert warp_error(images, depth, mask, counted, pair, 0.01) < 1e-6
    elsewhere = counted.clone()
    elsewhere[0, :, :11] = False  # columns whose points the screen hides
    assert math.isnan(warp_error(images, depth, mask, elsewhere, pair, 0.01))


def test_cameras_that_look_away_share_nothing(pair: Cameras) -> None:
    poses = pair.camera_to_world.clone()
    poses[1, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    turned = Cameras(poses, pair.focal, pair.centre, SIZE, SIZE)
    depth, mask = torch.full((2, SIZE, SIZE), 2.0), everywhere(pair)
    assert math.isnan(warp_error(torch.rand(2, 3, SIZE, SIZE), depth, mask, mask, turned, 0.01))


def test_bilinear_samples_lie_at_pixel_centres() -> None:
    values = torch.arange(12.0).reshape(1, 1, 3, 4)
    pixels = torch.tensor([[[0.5, 0.5], [2.0, 0.5], [3.5, 2.5], [1.5, 1.0], [-3.0, 0.5]]])
    assert sample_bilinear(values, pixels[:, None]).flatten().tolist() == pytest.approx([0.0, 1.5, 11.0, 3.0, 0.0], abs=1e-5)


def test_vectorised_error_equals_the_double_loop() -> None:
    """Five cameras round a bumpy surface with holes, random colours: every pixel by hand."""
    generator = torch.Generator().manual_seed(3)
    cameras = cameras_at([[0.15 * view, 0.1 * (view % 2), 0.05 * view] for view in range(5)])
    depth = plane_depth(cameras, -2.0) * (1 + 0.004 * torch.rand((5, SIZE, SIZE), generator=generator))
    depth[:, 5, 5] = torch.inf
    images = torch.rand((5, 3, SIZE, SIZE), generator=generator)
    silhouette = torch.rand((5, SIZE, SIZE), generator=generator) > 0.05
    counted = torch.rand((5, SIZE, SIZE), generator=generator) > 0.5
    expected = loop_error(images, depth, silhouette & torch.isfinite(depth), counted, cameras, 0.003)
    found = warp_error(images, depth, silhouette & torch.isfinite(depth), counted, cameras, 0.003)
    assert found == pytest.approx(expected, rel=1e-4)


def loop_error(images: Tensor, depth: Tensor, silhouette: Tensor, counted: Tensor, cameras: Cameras, tolerance: float) -> float:
    errors = []
    for view in range(len(cameras)):
        for other in ((view + 1) % len(cameras), (view - 1) % len(cameras)):
            for row in range(SIZE):
                for column in range(SIZE):
                    if not (silhouette[view, row, column] and counted[view, row, column]):
                        continue
                    ray = cameras.rays(torch.tensor(view), torch.tensor([column + 0.5, row + 0.5]))
                    point = ray.origins + depth[view, row, column] * ray.directions
                    error = loop_compare(images, depth, silhouette, cameras, other, point, tolerance)
                    if error is not None:
                        errors.append((images[view, :, row, column] - error).abs().mean().item())
    return sum(errors) / len(errors)


def loop_compare(
    images: Tensor, depth: Tensor, silhouette: Tensor, cameras: Cameras, view: int, point: Tensor, tolerance: float
) -> Tensor | None:
    """The colour of a point in a view, or None where it is not seen there."""
    pixel = cameras[[view]].project(point[None])[0][0, 0] - 0.5
    distance = (point - cameras.positions[view]).norm()
    left, top = math.floor(pixel[0]), math.floor(pixel[1])
    colour = torch.zeros(3)
    for column in (left, left + 1):
        for row in (top, top + 1):
            if not (0 <= column < SIZE and 0 <= row < SIZE and silhouette[view, row, column]):
                return None
            if (depth[view, row, column] - distance).abs() >= tolerance * distance:
                return None
            weight = (1 - (pixel[0] - column).abs()) * (1 - (pixel[1] - row).abs())
            colour += weight * images[view, :, row, column]
    return colour
