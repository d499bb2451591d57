"""The warp against a slow obvious one, point by point in NumPy, and the parts' motions on their own."""

import math

import numpy as np
import pytest
import torch

from qnerf.fields.posing.flesh import Flesh
from qnerf.fields.posing.labels import Labels
from qnerf.fields.posing.motions import Spline, rotation_axis, turn_between
from qnerf.fields.posing.parts import Part, parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.posing.warp import BALL, Warp, make_joints
from qnerf.scenes.bounds import BOX_EDGES
from qnerf.scenes.proxies import box_corners
from qnerf.scenes.proxy_file import BOX_CORNERS
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Box, Capsule
from tests.fields.posing.analytic import chair, skeleton

CPU = torch.device("cpu")
RADIUS = 0.1


def rodrigues(axis: np.ndarray, angle: float) -> np.ndarray:
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * k @ k


def smooth(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def back_slowly(joints: tuple[np.ndarray, np.ndarray], bone: int, x: np.ndarray, blend: float) -> np.ndarray:
    """Where the chain's bone (of joints (J, 3) before and after) has a point from: its own motion,
    turned into the neighbour's."""
    source, target = joints
    least = least_turns(joints)
    a, b = bone, bone + 1
    unit = (source[b] - source[a]) / np.linalg.norm(source[b] - source[a])
    ratio = np.linalg.norm(source[b] - source[a]) / np.linalg.norm(target[b] - target[a])
    y = source[a] + (np.eye(3) + (ratio - 1) * np.outer(unit, unit)) @ least[bone] @ (x - target[a])
    for joint, other in ((a, bone - 1), (b, bone + 1)):
        if not 0 <= other < len(least):
            continue
        far = joint + (other - bone)
        near = a if joint == b else b
        u, v = (target[end] - target[joint] for end in (near, far))
        normal = v / np.linalg.norm(v) - u / np.linalg.norm(u)
        normal /= np.linalg.norm(normal)
        turn = least[other] @ least[bone].T
        angle = math.acos(min(1.0, (np.trace(turn) - 1) / 2))
        axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / (2 * math.sin(angle))
        away = x - target[joint]
        across = smooth(float(away @ normal / (blend * RADIUS) + 1) / 2)
        inside = 1 - smooth((float(np.linalg.norm(away)) / RADIUS - BALL / 2) / (BALL / 2))
        y = source[joint] + rodrigues(axis, across * inside * angle) @ (y - source[joint])
    return y


def least_turns(joints: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    found = []
    for source, target in zip(np.diff(joints[0], axis=0), np.diff(joints[1], axis=0), strict=True):
        u, v = target / np.linalg.norm(target), source / np.linalg.norm(source)
        axis = np.cross(u, v)
        found.append(rodrigues(axis / np.linalg.norm(axis), math.acos(u @ v)))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_warp_is_the_slow_one(seed: int) -> None:
    """Straight chains, whose bones are turned by the least angle: before the edit no plane tells a twist."""
    rng = np.random.default_rng(seed)
    source = np.cumsum(np.tile(rng.normal(size=3) * 0.3, (4, 1)), axis=0)
    along = rng.normal(size=(3, 3))
    lengths = np.linalg.norm(source[1] - source[0]) * np.array([1.0, 1.3, 1.0])  # one is stretched
    along *= (lengths / np.linalg.norm(along, axis=1))[:, None]
    target = source[0] + rng.normal(size=3) + np.concatenate([np.zeros((1, 3)), np.cumsum(along, axis=0)])
    proxy = skeleton(source.tolist(), target.tolist(), ((0, 1), (1, 2), (2, 3)))
    parts = parts_of(proxy, PosingSettings(), CPU)
    warp = warp_of(parts)
    points = torch.from_numpy(target[rng.integers(4, size=60)] + rng.normal(size=(60, 3)) * 0.1).float()
    for bone in range(3):
        wanted = [back_slowly((source, target), bone, x, 0.7) for x in points.double().numpy()]
        torch.testing.assert_close(warp.back(bone, points), torch.from_numpy(np.stack(wanted)).float(), atol=2e-5, rtol=0)


def warp_of(parts: list[Part]) -> Warp:
    radii = [RADIUS] * len(parts)
    cells = torch.zeros(2, 2, 2)
    labels = Labels(Flesh(torch.zeros(3), 1.0, cells), cells.expand(len(parts), -1, -1, -1), cells, None, 0.0)
    return Warp(labels, parts, [make_joints(part, index, parts, radii) for index, part in enumerate(parts)], 0.7, 0.01)


def test_both_parts_agree_across_their_joint() -> None:
    """On the plane between two bones, within a radius of the joint, both have a point from the same place."""
    proxy = skeleton([[0, 0, 0], [1, 0, 0], [2, 0, 0.0]], [[0, 0, 0], [0, 0, 1], [0, 0.8, 1.6]], ((0, 1), (1, 2)))
    parts = parts_of(proxy, PosingSettings(), CPU)
    warp = warp_of(parts)
    joint = warp.joints[0][0]
    points = joint.target + 0.06 * torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(warp.back(0, points), warp.back(1, points), atol=1e-5, rtol=0)


def test_a_bend_in_a_plane_tells_the_twist() -> None:
    """The elbow's plane turns about the upper arm by 60°, and so does the upper arm."""
    yaw = math.radians(60)
    joints = [[0.0, 0, 0], [1, 0, 0], [1.5, 0.5, 0]]
    turned = [[0.0, 0, 0], [1, 0, 0], [1.5, 0.5 * math.cos(yaw), 0.5 * math.sin(yaw)]]
    part = parts_of(skeleton(joints, turned, ((0, 1), (1, 2))), PosingSettings(), CPU)[0]
    axis, angle = rotation_axis(part.motion.rotation)
    assert abs(float(angle) - yaw) < 1e-5
    torch.testing.assert_close(axis, torch.tensor([-1.0, 0, 0]), atol=1e-5, rtol=0)


def test_a_bend_to_the_other_side_is_no_twist() -> None:
    joints, other = ([[0.0, 0, 0], [1, 0, 0], [1.5, side, 0]] for side in (0.5, -0.5))
    part = parts_of(skeleton(joints, other, ((0, 1), (1, 2))), PosingSettings(), CPU)[0]
    torch.testing.assert_close(part.motion.rotation, torch.eye(3), atol=1e-5, rtol=0)


def test_half_a_turn() -> None:
    up = torch.tensor([0.0, 0.0, 1.0])
    turn = turn_between((up, None), (-up, None))
    torch.testing.assert_close(turn @ -up, up)
    torch.testing.assert_close(torch.linalg.det(turn), torch.tensor(1.0))
    assert abs(float(rotation_axis(turn)[1]) - math.pi) < 1e-3


def test_a_spline_takes_boxes_to_boxes_exactly() -> None:
    source, target = (
        box_corners(torch.ones(3), torch.tensor([1.0, 2, 3]), 0),
        box_corners(torch.zeros(3), torch.tensor([2.0, 1, 3]), 75),
    )
    motion = Spline(source, target)
    shares = torch.rand(50, 8, generator=torch.Generator().manual_seed(1))
    shares = shares / shares.sum(1, keepdim=True)
    torch.testing.assert_close(motion.back(shares @ target), shares @ source, atol=1e-4, rtol=0)
    torch.testing.assert_close(motion.forward(shares @ source), shares @ target, atol=1e-4, rtol=0)


def test_a_spline_of_points_in_a_plane() -> None:
    flat = torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]])
    motion = Spline(flat, flat + torch.tensor([0.0, 0, 0.5]))
    x = torch.tensor([[0.3, 0.4, 1.7]])
    torch.testing.assert_close(motion.forward(x), x + torch.tensor([[0.0, 0, 0.5]]), atol=1e-4, rtol=0)


def test_a_back_that_grows_is_stretched_evenly_from_side_to_side_and_through_its_thickness() -> None:
    [part] = parts_of(chair(0.5), PosingSettings(), CPU)
    heights = torch.tensor([0.25, 0.5, 0.75, 1.0])
    for x in (-0.5, 0.0, 0.5):
        for y in (-0.55, -0.4, -0.25):
            points = torch.stack([torch.full_like(heights, x), torch.full_like(heights, y), 0.5 + heights], 1)
            moved = part.motion.forward(points) - points
            torch.testing.assert_close(moved[:, 2], 0.5 * heights, atol=0.04, rtol=0)
            assert moved[:, :2].abs().max() < 0.01
            assert (part.motion.back(points + moved) - points).abs().max() < 0.02
    top = torch.tensor([[0.0, -0.5, 1.5]])
    torch.testing.assert_close(part.motion.forward(top), top + torch.tensor([[0.0, 0.0, 0.5]]), atol=1e-4, rtol=0)


def test_what_lies_in_a_box_that_stays_and_in_none_that_moves_stays() -> None:
    [part] = parts_of(chair(0.5), PosingSettings(), CPU)
    cushion, back, below_the_back, knob = [0.0, 0.1, 0.6], [0.0, -0.4, 1.2], [0.0, -0.3, 0.3], [0.0, 0.1, 1.4]
    boxed = part.boxed(torch.tensor([cushion, back, below_the_back, knob]))
    assert boxed is not None
    moves, stays = boxed
    assert moves.tolist() == [False, True, True, False]
    assert stays.tolist() == [True, False, False, False]


def test_what_a_proxy_is_made_of() -> None:
    bones = skeleton([[0, 0, 0], [1, 0, 0.0]], [[0, 0, 0], [0, 1, 0.0]], ((0, 1),))
    assert [part.smooth for part in parts_of(bones, PosingSettings(), CPU)] == [False]
    corners = box_corners(torch.zeros(3), torch.ones(3), 0)
    assert [
        part.smooth for part in parts_of(Proxy("box", BOX_CORNERS, BOX_EDGES, corners, corners + 1), PosingSettings(), CPU)
    ] == [True]
    boxes = [Box(np.zeros(3), np.full(3, half), np.eye(3), 0.01, "bound") for half in (0.5, 0.8)]
    capsules = [Capsule(np.zeros(3), np.array(end), 0.1, "bound") for end in ([1.0, 0, 0], [0, 1.0, 0])]
    for solids, smooth_one in ((boxes, True), (capsules, False)):
        before, after = (Bounds((solid,), corners) for solid in solids)
        bounded = Proxy("skeleton", bones.joints, bones.bones, bones.source, bones.target, before, after)
        assert parts_of(bounded, PosingSettings(), CPU)[0].smooth is smooth_one
        solid = parts_of(bounded, PosingSettings(parts="solids"), CPU)[0]
        assert solid.moved
        assert not solid.smooth


def test_what_moves_less_than_the_proxy_is_precise_does_not_move() -> None:
    """A forearm is raised. Then all joints of both states are displaced by .5 % of the extent an
    axis, and little else moves."""
    joints = torch.tensor([[0, 0, 0], [0, 0, 0.5], [0, 0, 1], [0.3, 0, 0.9], [0.6, 0, 0.9], [0.2, 0, -0.5], [0.2, 0, -1.0]])
    raised = joints.clone()
    raised[4] = torch.tensor([0.3, 0, 1.2])
    bones = ((0, 1), (1, 2), (1, 3), (3, 4), (0, 5), (5, 6))

    def moved(before: torch.Tensor, after: torch.Tensor) -> list[bool]:
        return [part.moved for part in parts_of(skeleton(before.tolist(), after.tolist(), bones), PosingSettings(), CPU)]

    assert moved(joints, raised) == [False, False, False, True, False, False]
    generator = torch.Generator().manual_seed(0)
    noise = 0.005 * 2.2 * torch.randn(20, 2, 7, 3, generator=generator)
    found = torch.tensor([moved(joints + a, raised + b) for a, b in noise])
    assert found[:, 3].all()
    assert found.float().sum(1).mean() < 4  # of 6; at .01 of the extent alone it is 5
