"""The depth that a depth ControlNet sees: a plane behind a moved box, worked by hand."""

from __future__ import annotations

import torch

from qnerf.scenes.bounds import BOX_EDGES, bounding_box
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.depth_map import draw_depth_map, fill_in
from qnerf.scenes.scene import Proxy

SIZE, FOCAL = 64, 64.0
CAMERA = Cameras(torch.eye(4)[None], torch.full((1, 2), FOCAL), torch.full((1, 2), SIZE / 2), SIZE, SIZE)  # looks along -z


def box_at(x: float) -> torch.Tensor:
    """A cube of side 1 whose front is at depth 3."""
    return bounding_box(torch.tensor([[x - 0.5, -0.5, -4.0], [x + 0.5, 0.5, -3.0]]))


def test_a_box_moves_before_a_wall_and_the_rest_keeps_its_grey() -> None:
    proxy = Proxy("box", tuple("abcdefgh"), BOX_EDGES, box_at(-0.7), box_at(0.7))
    rays = CAMERA.token_rays(SIZE, SIZE).directions
    wall = 6 / -rays[..., 2]  # a wall at depth 6: the scene with the object in it, which the hole is filled over
    wall[:, 21:43, 6:28] = 3 / -rays[:, 21:43, 6:28, 2]
    source, target = (draw_depth_map(proxy, state, CAMERA, (SIZE, SIZE), wall) for state in ("source", "target"))
    left, right, corner = (..., 32, 17), (..., 32, 47), (..., 2, 2)
    assert source.shape == (1, 3, SIZE, SIZE)
    for drawn, here, gone in ((source, left, right), (target, right, left)):
        assert (drawn[here] > 0.99).all(), "the box's front is the nearest"
        assert (drawn[gone] < 1e-4).all(), "the wall is the farthest, also where the box was"
        torch.testing.assert_close(drawn[corner], source[corner])
    # A wall twice as far has half the inverse depth: 1/6 lies where (1/6 - 1/6) / (1/3 - 1/6) = 0, and 1/4 would lie at a half.
    nearer = wall.clone()
    nearer[:, :8] = 4 / -rays[:, :8, :, 2]
    torch.testing.assert_close(draw_depth_map(proxy, "source", CAMERA, (SIZE, SIZE), nearer)[0, 0, 2, 2], torch.tensor(0.5))


def test_holes_are_filled_from_the_nearest_pixel() -> None:
    values = torch.arange(20.0).expand(1, 20, 20).clone()
    hole = torch.zeros(1, 20, 20, dtype=torch.bool)
    hole[0, 8:12, 5:15] = True
    values[hole] = 99
    filled = fill_in(values, hole)
    assert filled.max() == 19
    assert filled[0, 9, 3] == 2, "two pixels round the hole belong to it"
    assert torch.equal(filled[0, :5], values[0, :5])
    assert torch.equal(fill_in(values, torch.ones_like(hole)), values), "nothing to fill from"
