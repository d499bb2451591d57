"""The control drawing: colours where the joints project, grades that say what they should, nothing behind a camera."""

from __future__ import annotations

import colorsys
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES, bounding_box
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.controls import (
    draw_control,
    draw_control_image,
    draw_proxy_control,
    end_joints,
    skeleton_colours,
)
from qnerf.scenes.scene import Proxy
from tests.scenes.conftest import BONES, JOINTS, ring_cameras

SIZE = (128, 128)
ENDS = end_joints(JOINTS)


def test_ends_are_chosen_by_name() -> None:
    assert [JOINTS[index] for index in ENDS] == ["head", "hand_l", "hand_r", "foot_l", "foot_r"]


@pytest.mark.parametrize("detail", ["bones", "joints", "ends"])
def test_an_unhidden_dot_shows_its_joints_hue(figure: Tensor, cameras: Cameras, detail: str) -> None:
    drawn = draw_control(figure, BONES, cameras, detail, SIZE, ENDS)
    pixels, _ = cameras.resized(128, 128).project(figure)
    for joint in ENDS:
        others = (pixels[0] - pixels[0, joint]).norm(dim=-1)
        others[joint] = torch.inf
        assert others.min() > 6  # nothing else lies over it in view 0
        x, y = pixels[0, joint].floor().long().tolist()
        expected = colorsys.hsv_to_rgb(joint / len(JOINTS), 1.0, 1.0)
        torch.testing.assert_close(drawn[0, :, y, x], torch.tensor(expected), atol=0.01, rtol=0.0)


def test_grades_get_looser(figure: Tensor, cameras: Cameras) -> None:
    ink = {
        detail: (draw_control(figure, BONES, cameras, detail, SIZE, ENDS).amax(dim=1) > 0).float().mean().item()
        for detail in ("bones", "joints", "ends")
    }
    assert ink["bones"] > ink["joints"] > ink["ends"] > 0


def test_ends_say_nothing_about_elbows_and_joints_do(figure: Tensor, cameras: Cameras) -> None:
    bent = figure.clone()
    bent[4] += torch.tensor([0.2, 0.0, 0.1])
    for detail, differs in {"ends": False, "joints": True, "bones": True}.items():
        first, second = (draw_control(points, BONES, cameras, detail, SIZE, ENDS) for points in (figure, bent))
        assert torch.equal(first, second) != differs


def test_left_and_right_differ_in_colour() -> None:
    colours = skeleton_colours(len(JOINTS), len(BONES))
    for name in ("shoulder", "elbow", "hand", "hip", "knee", "foot"):
        left, right = (colours.joints[JOINTS.index(f"{name}_{side}")].astype(int) for side in "lr")
        assert np.abs(left - right).max() > 100


def test_nearer_dot_covers_the_farther_one() -> None:
    pixels, colours = np.array([[64.0, 64.0], [64.0, 64.0]]), skeleton_colours(2, 0)
    for depths, nearer in (([1.0, 2.0], 0), ([2.0, 1.0], 1)):
        image = draw_control_image(pixels, np.array(depths), (), colours, "joints", SIZE)
        np.testing.assert_allclose(image[:, 64, 64] * 255, colours.joints[nearer])


def test_dot_centre_is_within_a_sixteenth_of_a_pixel() -> None:
    for x, y in ((40.5, 70.5), (41.0, 70.25)):
        image = draw_control_image(np.array([[x, y]]), np.ones(1), (), skeleton_colours(1, 0), "ends", SIZE, (0,))
        weight = image[0] / image.sum()
        columns = np.arange(128) + 0.5
        assert abs((weight.sum(axis=0) * columns).sum() - x) < 0.13
        assert abs((weight.sum(axis=1) * columns).sum() - y) < 0.13


def test_points_behind_the_camera_are_skipped_with_their_lines() -> None:
    pixels = np.array([[20.0, 20.0], [100.0, 100.0]])
    colours = skeleton_colours(2, 1)
    one_behind = draw_control_image(pixels, np.array([1.0, -1.0]), ((0, 1),), colours, "bones", SIZE)
    assert one_behind[:, 20, 20].max() == 1
    assert one_behind[:, 60:, 60:].max() == 0
    assert draw_control_image(pixels, -np.ones(2), ((0, 1),), colours, "bones", SIZE).max() == 0


def test_a_point_almost_in_the_image_plane_does_not_break_the_drawing(figure: Tensor) -> None:
    cameras = ring_cameras(1, 64, 75.0)
    on_plane = torch.cat([figure, cameras.positions + torch.tensor([[1e6, 0.01, 0.0]])])
    assert torch.isfinite(draw_control(on_plane, (*BONES, (0, 15)), cameras, "bones", SIZE)).all()


def test_widths_scale_with_the_image(figure: Tensor, cameras: Cameras) -> None:
    for detail in ("bones", "joints", "ends", "box"):
        small, large = (
            draw_control(figure, BONES, cameras, detail, (size, size), ENDS).amax(dim=1).mean().item() for size in (128, 512)
        )
        assert small == pytest.approx(large, rel=0.4)  # a drawn edge is a pixel wide


def test_box_has_three_edge_colours_and_bounds_the_figure(figure: Tensor, cameras: Cameras) -> None:
    box = bounding_box(figure)
    assert torch.equal(bounding_box(box), box)
    drawn = draw_control(figure, BONES, cameras, "box", SIZE)
    assert torch.equal(drawn, draw_control(box, BOX_EDGES, cameras, "box", SIZE))
    colours = {tuple(colour) for colour in (drawn[1].flatten(1).T * 255).round().int().tolist()}
    assert {(255, 64, 64), (64, 255, 64), (64, 96, 255)} <= colours


def test_a_turned_box_is_drawn_as_it_is_and_a_box_proxy_is_always_a_box(figure: Tensor, cameras: Cameras) -> None:
    turn = torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    corners = bounding_box(figure) @ turn.T
    proxy = Proxy("box", tuple(f"corner_{index}" for index in range(8)), BOX_EDGES, corners, corners)
    drawn = draw_proxy_control(proxy, "source", cameras, "bones", SIZE)
    assert torch.equal(drawn, draw_control(corners, BOX_EDGES, cameras, "box", SIZE))
    assert not torch.equal(drawn, draw_control(bounding_box(corners), BOX_EDGES, cameras, "box", SIZE))


def test_edges_of_the_box_change_one_coordinate() -> None:
    corners = bounding_box(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    steps = torch.stack([(corners[a] - corners[b]).abs() for a, b in BOX_EDGES])
    torch.testing.assert_close(steps, torch.eye(3).repeat_interleave(4, dim=0))


def test_unknown_grade_and_missing_ends_are_one_sentence(figure: Tensor, cameras: Cameras) -> None:
    with pytest.raises(UserError, match=r"control\.detail is 'stick', expected one of bones, joints, ends, box"):
        draw_control(figure, BONES, cameras, "stick", SIZE)
    with pytest.raises(UserError, match=r"no joint of the proxy is named"):
        draw_control(figure, BONES, cameras, "ends", SIZE)


def test_drawing_is_fast_enough_for_training(figure: Tensor, cameras: Cameras) -> None:
    pixels, z_depth = (part[0].numpy() for part in cameras.resized(128, 128).project(figure))
    colours = skeleton_colours(len(JOINTS), len(BONES))
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        draw_control_image(pixels, z_depth, BONES, colours, "bones", SIZE)
        seconds.append(time.perf_counter() - start)
    assert sorted(seconds)[10] < 0.5e-3
