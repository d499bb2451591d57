"""The plane of a floor or a wall, found in pictures of it."""

import math

import pytest
import torch
from torch import Tensor

from qnerf.fields.ground_plane import find_plane, plane_axes
from qnerf.fields.settings import EncodingSettings
from qnerf.fields.surroundings import Ground
from qnerf.scenes.cameras import Cameras, Rays
from tests.fields.helpers import SPACE, ring

FLOOR = torch.tensor([0.0, 0.0, 1.0, -0.4])
LEANING_WALL = torch.tensor([0.8, -0.59, -0.1, -0.3])


def before(plane: Tensor) -> Cameras:
    """Cameras of a ring that are well before the plane."""
    cameras = ring(24, pixels=48)
    return cameras[((cameras.positions @ plane[:3] - plane[3]) > 1.0).nonzero()[:, 0].tolist()]


def pictures(plane: Tensor, cameras: Cameras) -> Tensor:
    """(N, 3, H, W) of a plane with waves on it."""
    rays = cameras.token_rays(cameras.height, cameras.width)
    distance = (plane[3] - rays.origins @ plane[:3]) / (rays.directions @ plane[:3])
    points = rays.origins + distance[..., None] * rays.directions
    waves = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)) * 6
    return (torch.sin(points @ waves) / 2 + 0.5).permute(0, 3, 1, 2)


@pytest.mark.parametrize("plane", [FLOOR, LEANING_WALL], ids=["floor", "leaning wall"])
def test_the_plane_on_which_the_views_agree_is_found(plane: Tensor) -> None:
    plane = plane / plane[:3].norm()
    cameras = before(plane)
    images = pictures(plane, cameras)
    found = find_plane(images, cameras, SPACE, torch.zeros(len(cameras), 48, 48, dtype=torch.bool))
    assert found is not None
    assert float(found[:3] @ plane[:3]) > math.cos(math.radians(1.5))
    assert abs(float(found[3] - plane[3])) < 0.02 * SPACE.radius


def test_pictures_that_agree_on_no_plane_have_none() -> None:
    cameras = before(LEANING_WALL)
    noise = torch.rand(len(cameras), 3, 48, 48, generator=torch.Generator().manual_seed(2))
    assert find_plane(noise, cameras, SPACE, torch.zeros(len(cameras), 48, 48, dtype=torch.bool)) is None


def test_a_ray_meets_a_wall_where_its_plane_is() -> None:
    plane = LEANING_WALL / LEANING_WALL[:3].norm()
    grid = EncodingSettings(levels=2, base_resolution=4, finest_resolution=8, log2_table_size=8)
    ground = Ground(plane, grid, "torch", SPACE, torch.device("cpu"), 1)
    origin, along = 2 * plane[:3], plane_axes(plane[:3])[0]
    directions = torch.stack([along - plane[:3], plane[:3] - along]) / 2**0.5
    crossing, met = ground.crossing(Rays(origin.expand(2, 3), directions))
    assert met.tolist() == [True, False]  # the second looks away from the wall
    torch.testing.assert_close((origin + crossing[0, 0] * directions[0]) @ plane[:3], plane[3])
    assert bool(ground.contains((origin + crossing[0].mean() * directions[0])[None]))
