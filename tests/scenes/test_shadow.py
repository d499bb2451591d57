"""Shadows on the ground: where they fall, from where they are lit, and what of the views they may change."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.ground import CELLS, Ground, draw_shadow, ground_in_views, up_of
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import edited_region
from qnerf.scenes.scene import Proxy
from qnerf.scenes.shadow import find_light, grounds_under, shadow_region
from qnerf.scenes.solids import Capsule
from qnerf.scenes.world import World
from tests.scenes.conftest import ring_cameras

FLOOR = Ground(np.array([0.0, 0.0, 1.0]), 0.0, np.zeros(3), 3.0)
POLE, MOVED = [[0.0, 0.0, 0.1], [0.0, 0.0, 1.1]], [[0.0, 0.0, 0.1], [0.7, 0.0, 0.8]]
MARGIN = 0.09  # of the pole's extent of 1.1: its flesh is about a tenth thick
LIGHT = np.array([math.cos(0.5), math.sin(0.5), 1.2]) / math.sqrt(2.44)
# A world whose up is not z: x, y, z become y, z, x.
TURN = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def at(table: np.ndarray, x: float, y: float) -> float:
    """The value of FLOOR's table at a point of the floor."""
    column, row = ((np.array([x, y, 0.0]) @ FLOOR.axes.T / FLOOR.half + 1) * CELLS / 2).astype(int)
    return float(table[row, column])


def pole() -> Proxy:
    return Proxy("skeleton", ("foot", "tip"), ((0, 1),), torch.tensor(POLE), torch.tensor(MOVED))


def floor_views(size: int = 96, dark: float = 0.55, checked: bool = False) -> tuple[Cameras, Tensor]:
    """A floor in eight views, on which the pole's shadow lies in the light from LIGHT: within 0.1 of the line from the pole's foot
    to where the light through its tip falls. Worked out ray by ray."""
    cameras = ring_cameras(8, size, 1.2 * size, distance=3.0, height=1.9)
    rays = cameras.token_rays(size, size)
    reach = -rays.origins[..., 2] / rays.directions[..., 2].clamp(max=-1e-3)
    floor = (rays.origins + reach[..., None] * rays.directions)[..., :2]
    end = torch.tensor(-LIGHT[:2] / LIGHT[2] * 1.1, dtype=torch.float32)
    along = ((floor @ end) / (end @ end)).clamp(0, 1)
    in_shadow = (floor - along[..., None] * end).norm(dim=-1) < 0.1
    light = torch.where(in_shadow, dark, 1.0)
    pattern = 0.85 + 0.15 * ((floor / 0.5).floor().sum(dim=-1) % 2) if checked else torch.full_like(light, 0.8)
    colour = light * pattern * (rays.directions[..., 2] < -0.05)
    return cameras, torch.stack([colour, 0.9 * colour, 0.7 * colour], dim=1)


def test_the_world_s_own_ground_stays_where_it_is_when_the_scene_is_moved() -> None:
    """The scene's origin far off in the world, at a height of 0.82: its ground z = 0 is 0.82 below."""
    cameras, _ = floor_views(8)
    far, proxy = World((5e6, -3e6, 0.82), 1.0), pole()
    down = torch.tensor([0.0, 0.0, 0.82])
    lowered = replace(proxy, source=proxy.source - down, target=proxy.target - down)
    pose = cameras.camera_to_world.clone()
    pose[:, :3, 3] -= down
    below = replace(cameras, camera_to_world=pose)
    heights = [ground.height for ground in grounds_under(proxy, cameras, 0.1)]
    assert heights[0] == World().zero == 0
    found = [ground.height for ground in grounds_under(lowered, below, 0.1, far.zero)]
    np.testing.assert_allclose(found, np.array(heights) - 0.82, atol=1e-6)
    assert found[0] == -0.82
    assert World((0.0, 0.0, -6.0), 2.0).zero == 3


def test_a_poles_shadow_falls_away_from_the_light() -> None:
    """A pole of height 1 and radius 0.1 in a light from +x at 45 degrees: from its foot to x = -1, and a circle's width on."""
    table = draw_shadow([Capsule(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.1, "")], FLOOR, np.array([1.0, 0.0, 1.0]) / math.sqrt(2))
    assert [at(table, x, 0.0) for x in (0.3, -0.05, -0.5, -1.05, -1.3)] == [0, 1, 1, 1, 0]
    assert [at(table, -0.5, y) for y in (-0.2, -0.05, 0.05, 0.2)] == [0, 1, 1, 0]
    wide = draw_shadow([Capsule(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.1, "")], FLOOR, np.array([0.0, 0.0, 1.0]), spread=0.5)
    assert [at(wide, x, 0.0) for x in (0.5, 0.7)] == [1, 0], "0.1 thick, and half of its height more"


def test_the_ground_is_seen_where_a_camera_looks_down_on_it() -> None:
    cameras = ring_cameras(2, 16, 16.0)
    seen = ground_in_views(np.ones((CELLS, CELLS), np.float32), FLOOR, cameras, (16, 16))
    pixels, _ = cameras.project(torch.tensor([[0.0, 0.0, 0.0]]))
    for view in range(2):
        column, row = pixels[view, 0].int().tolist()
        assert seen[view, row, column] == 1
    assert not seen[:, 0].any(), "above the horizon there is no ground"
    beneath = replace(FLOOR, height=5.0)
    assert not ground_in_views(np.ones((CELLS, CELLS), np.float32), beneath, cameras, (16, 16))[:, 8:].any()


@pytest.mark.parametrize("checked", [False, True], ids=["plain", "checked"])
@pytest.mark.parametrize("turned", [False, True], ids=["z up", "x up"])
def test_the_light_is_found_from_the_sources_shadow(checked: bool, turned: bool) -> None:
    (cameras, images), proxy, expected = floor_views(checked=checked), pole(), torch.tensor(LIGHT, dtype=torch.float32)
    if turned:
        turn = torch.eye(4)
        turn[:3, :3] = TURN.T
        cameras = replace(cameras, camera_to_world=turn @ cameras.camera_to_world)
        proxy = replace(proxy, source=proxy.source @ TURN, target=proxy.target @ TURN)
        expected = expected @ TURN
    assert up_of(cameras) == pytest.approx([1, 0, 0] if turned else [0, 0, 1], abs=1e-4)
    light = find_light(proxy, images, cameras, MARGIN)
    assert light is not None
    assert float(light.direction @ expected.numpy()) > math.cos(math.radians(8))
    assert light.darkening > 0.2


@pytest.mark.parametrize("dark", [1.0, 1.8], ids=["no shadow", "brighter"])
@pytest.mark.parametrize("checked", [False, True], ids=["plain", "checked"])
def test_there_is_no_light_without_a_shadow(checked: bool, dark: float) -> None:
    cameras, images = floor_views(dark=dark, checked=checked)
    assert find_light(pole(), images / images.amax(), cameras, MARGIN) is None


def test_there_is_no_light_where_no_ground_is_seen() -> None:
    cameras, images = floor_views(size=32)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    assert find_light(pole(), noise, cameras, MARGIN) is None


def test_the_region_has_the_shadow_before_and_after_the_edit() -> None:
    """And the ground under the part alone where the light is not known."""
    cameras, images = floor_views()
    light, size = find_light(pole(), images, cameras, MARGIN), (96, 96)
    region = shadow_region(pole(), cameras, size, MARGIN, light, finer=1)
    below = shadow_region(pole(), cameras, size, MARGIN, None, finer=1)
    slope = -LIGHT[:2] / LIGHT[2]
    before, after = [*(slope * 0.9), 0.0], [0.6 + slope[0] * 0.7, slope[1] * 0.7, 0.0]
    elsewhere, under = [*(-slope * 0.9), 0.0], [0.3, 0.0, 0.0]
    pixels = cameras.project(torch.tensor([before, after, elsewhere, under], dtype=torch.float32))[0].int()
    for view in range(8):
        found, plain = ([float(region_[view, y, x]) for x, y in pixels[view].tolist()] for region_ in (region, below))
        assert found[:3] == [1, 1, 0]
        assert plain[0] == 0
        assert plain[3] == 1
    cells = shadow_region(pole(), cameras, (12, 12), MARGIN, light)
    assert torch.equal(cells, torch.nn.functional.max_pool2d(shadow_region(pole(), cameras, size, MARGIN, light, 1), 8))


@pytest.mark.parametrize("kind", ["figure", "lamp", "seat", "toy"])
def test_what_the_edit_changes_of_the_background_lies_in_the_region(kind: str) -> None:
    scene = build_scene(4, views=6, size=64, kind=kind, world=2)
    proxy, truth = scene.proxy, scene.truth
    assert proxy is not None
    assert truth is not None
    light = find_light(proxy, scene.images, scene.cameras, 0.1)
    shadow = shadow_region(proxy, scene.cameras, (64, 64), 0.1, light, finer=1)
    moved = edited_region(proxy, scene.cameras, (64, 64), 0.1, finer=1).moved
    change = (truth.edited_images - scene.images).abs().amax(dim=1) > 0.02
    change &= ~(truth.silhouette_source | truth.silhouette_edited)
    assert light is not None
    assert float((change & ((moved + shadow) > 0)).sum() / change.sum()) > 0.9
    assert float(shadow.mean()) < 0.4


def test_a_box_casts_a_shadow_too() -> None:
    corners = torch.tensor([[x, y, z] for z in (0.0, 0.6) for y in (-0.2, 0.2) for x in (-0.2, 0.2)])
    box = Proxy("box", tuple(f"c{i}" for i in range(8)), (), corners, corners + torch.tensor([0.5, 0.0, 0.0]))
    cameras = ring_cameras(2, 32, 30.0, height=1.9)
    region = shadow_region(box, cameras, (32, 32), 0.0, None, finer=1)
    pixels = cameras.project(torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [-1.0, 0.8, 0.0]]))[0].int()
    assert [[float(region[view, y, x]) for x, y in pixels[view].tolist()] for view in range(2)] == [[1, 1, 0], [1, 1, 0]]
