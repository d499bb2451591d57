"""Points and Gaussians on what a radiance field shows: depths by hand, weights against a plain loop, colours that fit."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.fields.rendering import Samples
from qnerf.fields.settings import InitialDensitySettings, SourceFieldSettings
from qnerf.fields.source_field import SourceField
from qnerf.fields.splats import (
    FAINT,
    LOW_PASS,
    Splats,
    all_directions,
    drawn,
    fill_sky,
    fit,
    render_splats,
    rotation_matrices,
    surface_splats,
    towards,
)  # fmt: skip
from qnerf.fields.surface import Look, cloud_of, joined, look, median_depth, normals, solid
from qnerf.scenes.cameras import Cameras
from tests.fields.helpers import GRID, SAMPLING, SPACE, ring, sphere


def sphere_look(cameras: Cameras) -> Look:
    """What a perfect field of a sphere shows."""
    colours, depth = sphere(cameras, cameras.height, 3)
    met = torch.isfinite(depth)
    depth = torch.where(met, depth, 5.0)
    rays = cameras.token_rays(cameras.height, cameras.width)
    points = rays.origins + depth[..., None] * rays.directions
    return Look((colours + 1) / 2, depth, met.float(), points)


def test_the_depth_is_where_half_of_the_weight_is_reached() -> None:
    samples = Samples(torch.tensor([[0.0, 1.0, 2.0]] * 3), torch.tensor([[1.0, 2.0, 3.0]] * 3), torch.empty(0), 1.0)
    weights = torch.tensor([[0.2, 0.2, 0.6], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(median_depth(weights, samples), torch.tensor([2 + 0.1 / 0.6, 0.5, 3.0]))


def test_the_ground_is_a_surface_too() -> None:
    """An untrained field: its ground is opaque, and above it there is next to nothing."""
    cameras = ring(2, pixels=16)
    settings = SourceFieldSettings(
        grid=GRID, surroundings=GRID, sampling=SAMPLING, initial_density=InitialDensitySettings(centre=1e-3, surroundings=1e-4)
    )
    plane = torch.tensor([0.0, 0.0, 1.0, -0.4])
    seen = look(SourceField(settings, SPACE, torch.device("cpu"), 0, None, plane), cameras)
    rays = cameras.token_rays(16, 16)
    expected = (-0.4 - rays.origins[..., 2]) / rays.directions[..., 2].clamp_max(-1e-3)
    near = (rays.directions[..., 2] < 0) & (expected < 5)
    assert near.any()
    assert seen.met[near].all()
    torch.testing.assert_close(seen.depth[near], expected[near], atol=0.03, rtol=0)  # a slab of 0.01, met aslant
    assert not seen.met[rays.directions[..., 2] > 0].any()


def test_points_of_one_cell_are_joined_and_know_their_neighbours() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.0, 0.0], [1.3, 0.0, 0.0], [9.0, 9.0, 9.0]])
    found, colours, spacing = joined(points, torch.tensor([[0.0] * 3, [1.0] * 3, [0.3] * 3, [0.4] * 3]), 1.0)
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.0, 0.0], [1.3, 0.0, 0.0], [9.0, 9.0, 9.0]]))
    torch.testing.assert_close(colours[:, 0], torch.tensor([0.5, 0.3, 0.4]))
    torch.testing.assert_close(spacing, torch.tensor([1.2, 1.2, 1.0]))  # the last has none beside it: the cell's side


def test_points_that_another_camera_looks_through_are_none() -> None:
    cameras = ring(8)
    seen = sphere_look(cameras)
    assert solid(seen, cameras)[seen.met].float().mean() > 0.9  # all but the coarse rim
    fog = seen.depth.clone()
    fog[0] = torch.where(seen.met[0], 1.9, fog[0])  # before the first camera alone
    rays = cameras.token_rays(32, 32)
    foggy = replace(seen, depth=fog, points=rays.origins + fog[..., None] * rays.directions)
    assert solid(foggy, cameras)[0].sum() < 0.5 * seen.met[0].sum()
    cloud = cloud_of(seen, cameras, torch.zeros(3), 2.0)
    radius = cloud.points.norm(dim=-1)
    assert radius.std() < 0.02 * radius.mean()


def test_normals_of_a_sphere_point_outwards_and_discs_lie_across_them() -> None:
    cameras = ring(2)
    seen = sphere_look(cameras)
    inner = seen.met & ((seen.points - cameras.positions[:, None, None]).norm(dim=-1) < 2.5)  # not the outline
    found = normals(seen, cameras)[inner]
    assert (found * seen.points[inner]).sum(dim=-1).quantile(0.1) > 0.97
    turned = rotation_matrices(towards(found))[:, :, 2]
    torch.testing.assert_close((turned * found).sum(dim=-1).abs(), torch.ones(len(found)))


def test_weights_are_those_of_the_published_equations() -> None:
    """Pixel by pixel, Gaussian by Gaussian, nearest first."""
    generator = torch.Generator().manual_seed(3)
    camera = ring(1, pixels=12)
    turns = torch.nn.functional.normalize(torch.randn(6, 4, generator=generator), dim=-1)
    scales = 0.05 + 0.15 * torch.rand(6, 3, generator=generator)
    points = 0.4 * torch.randn(6, 3, generator=generator)
    splats = Splats(points, torch.rand(6, 3, generator=generator), torch.full((6,), 0.7), scales, turns)
    view = drawn(splats, camera)
    found = torch.zeros(12 * 12, 6, dtype=torch.float64).index_put_((view.pixel, view.splat), view.weights(splats.opacity))
    pose, focal = camera.camera_to_world[0].double(), camera.focal[0].double()
    to_camera = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)) @ pose[:3, :3].T
    local = (points.double() - pose[:3, 3]) @ to_camera.T
    expected = torch.zeros_like(found)
    for pixel in range(12 * 12):
        place, left = torch.tensor([pixel % 12 + 0.5, pixel // 12 + 0.5], dtype=torch.float64), 1.0
        for index in local[:, 2].argsort().tolist():
            x, y, z = local[index].tolist()
            jacobian = torch.tensor(
                [[focal[0] / z, 0, -focal[0] * x / z**2], [0, focal[1] / z, -focal[1] * y / z**2]], dtype=torch.float64
            )
            turn = rotation_matrices(turns[[index]].double())[0]
            shape = to_camera @ turn @ torch.diag(scales[index].double() ** 2) @ turn.T @ to_camera.T
            flat = jacobian @ shape @ jacobian.T + LOW_PASS * torch.eye(2, dtype=torch.float64)
            middle = torch.stack([focal[0] * x / z, focal[1] * y / z]) + camera.centre[0].double()
            away = place - middle
            alpha = 0.7 * math.exp(-0.5 * float(away @ torch.linalg.inv(flat) @ away))
            if alpha >= FAINT:
                expected[pixel, index] = left * alpha
                left *= 1 - alpha
    assert (expected > 0).sum() > 100
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)  # pixels are projected in float32


def grey(directions: Tensor) -> Tensor:
    """A sky."""
    return torch.full_like(directions, 0.4)


def test_directions_in_which_no_camera_looks_show_the_sky() -> None:
    cameras = ring(3)
    splats = fill_sky(surface_splats(sphere_look(cameras), cameras, 1.0), cameras, 1.0, grey)
    pose = torch.eye(4)[None]
    pose[0, :3, :3] = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])  # looks up, from under the sky
    pose[0, 2, 3] = 3.0
    up = Cameras(pose, cameras.focal[:1], cameras.centre[:1], 32, 32)
    torch.testing.assert_close(render_splats(splats, up), torch.full((1, 3, 32, 32), 0.4), atol=0.1, rtol=0)
    unit = all_directions(500)
    torch.testing.assert_close(unit.norm(dim=-1), torch.ones(500, dtype=torch.float64))
    apart = torch.cdist(unit, unit).fill_diagonal_(9.0).amin(dim=1)
    assert apart.min() > 0.7 * apart.mean()


@pytest.fixture(scope="module")
def fitted() -> tuple[Splats, Splats, Tensor, Cameras]:
    cameras = ring(6)
    images = sphere_look(cameras).colours.permute(0, 3, 1, 2)
    raw = surface_splats(sphere_look(cameras), cameras, 1.0)
    return raw, fit(raw, images, cameras), images, cameras


def test_a_surface_becomes_gaussians_that_show_it(fitted: tuple[Splats, Splats, Tensor, Cameras]) -> None:
    raw, best, images, cameras = fitted
    errors = [(render_splats(splats, cameras) - images).square().mean().item() for splats in (raw, best)]
    assert -10 * math.log10(errors[1]) > 25
    assert errors[1] < 0.7 * errors[0]
    for name in ("points", "scales", "rotations"):
        assert torch.equal(getattr(raw, name), getattr(best, name))
