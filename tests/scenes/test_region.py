"""The region of the object before and after the edit, against points that are or are not near the proxy."""

import pytest
import torch

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import edited_region
from qnerf.scenes.scene import Proxy


def one_camera() -> Cameras:
    """At (0, 0, 10), looking down the world's -z; 10 pixels an unit at the origin's depth, 100 x 100."""
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = 10.0
    return Cameras(pose, torch.full((1, 2), 100.0), torch.full((1, 2), 50.0), 100, 100)


def proxy(kind: str, source: list[list[float]], target: list[list[float]], bones: tuple[tuple[int, int], ...]) -> Proxy:
    names = tuple(f"p{i}" for i in range(len(source)))
    return Proxy(kind, names, bones, torch.tensor(source), torch.tensor(target))


def test_a_bone_by_hand() -> None:
    """A bone of length 4 along x that turns to y: half width 0.25 x 4 = 1 unit = 10 of 100 pixels = 1 of 10 cells."""
    before, after = [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0]]
    region = edited_region(proxy("skeleton", before, after, ((0, 1),)), one_camera(), (10, 10), margin=0.25).object
    assert region.shape == (1, 10, 10)
    assert region[0, 5, 5:9].all()  # the old bone, to the right
    assert region[0, 1:5, 5].all()  # the new one, upwards
    assert not region[0, 7:, :3].any()
    assert not region[0, :3, 8:].any()
    assert 20 <= int(region.sum()) <= 34


def test_a_box_is_filled() -> None:
    corners = [[x, y, z] for z in (-1.0, 1.0) for y in (-1.0, 1.0) for x in (-1.0, 1.0)]
    region = edited_region(proxy("box", corners, corners, ()), one_camera(), (10, 10), margin=0.0).object
    assert region[0, 4:6, 4:6].all()
    assert not region[0, 0].any()
    grown = edited_region(proxy("box", corners, corners, ()), one_camera(), (10, 10), margin=1.0).object
    assert grown.sum() > region.sum()


def test_the_region_holds_both_silhouettes_and_little_else() -> None:
    scene = build_scene(3, views=6, size=64)
    assert scene.proxy is not None
    assert scene.truth is not None
    region = edited_region(scene.proxy, scene.cameras, (16, 16), margin=0.1).object
    silhouettes = (scene.truth.silhouette_source | scene.truth.silhouette_edited).float()
    coverage = torch.nn.functional.avg_pool2d(silhouettes[:, None], 4)[:, 0]
    assert float(coverage[region == 1].sum() / coverage.sum()) > 0.97
    assert float(region.mean()) < 0.6


def test_only_what_moves_by_hand() -> None:
    """Of two bones from the origin one turns: the moved region is that bone's, as if the other were not there, but as thick."""
    before = [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, -4.0, 0.0]]
    after = [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, -4.0, 0.0]]
    both = edited_region(proxy("skeleton", before, after, ((0, 1), (0, 2))), one_camera(), (10, 10), margin=0.125)
    assert both.object[0, 6:9, 5].all()
    assert not both.moved[0, 7:9, 5].any()
    alone = edited_region(proxy("skeleton", before[:2], after[:2], ((0, 1),)), one_camera(), (10, 10), margin=0.25)
    assert torch.equal(both.moved, alone.object)
    still = edited_region(proxy("skeleton", before, before, ((0, 1), (0, 2))), one_camera(), (10, 10), margin=0.125)
    assert torch.equal(still.moved, still.object)


@pytest.mark.parametrize("kind", ["figure", "lamp", "toy"])
def test_the_moved_region_holds_what_moves(kind: str) -> None:
    scene = build_scene(4, views=4, size=64, kind=kind, world=2)
    assert scene.proxy is not None
    assert scene.truth is not None
    region = edited_region(scene.proxy, scene.cameras, (16, 16), margin=0.1)
    coverage = torch.nn.functional.avg_pool2d(scene.truth.moved_edited.float()[:, None], 4)[:, 0]
    assert float(coverage[region.moved == 1].sum() / coverage.sum()) > 0.97
    assert float(region.moved.sum()) < 0.8 * float(region.object.sum())


def test_a_proxy_with_bounds_is_where_they_are() -> None:
    """A seat's cushions lie far from its bones, but inside its bounds: the region holds all of the object, in both states."""
    scene = build_scene(2, views=2, size=64, kind="seat", world=2)
    assert scene.proxy is not None
    assert scene.truth is not None
    region = edited_region(scene.proxy, scene.cameras, (16, 16), margin=0.0).object
    either = (scene.truth.silhouette_source | scene.truth.silhouette_edited).float()
    cells = torch.nn.functional.max_pool2d(either[:, None], 4)[:, 0]
    assert ((cells > 0) & (region == 0)).sum() <= 1
    assert 0.1 < region.mean() < 0.8
