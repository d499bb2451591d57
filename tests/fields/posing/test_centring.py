"""Joints that are put on the axes of their flesh: by how much, which, and how far a proxy is trusted."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.fields.posing.carving import Room
from qnerf.fields.posing.centring import Labelled, carried, centred
from qnerf.fields.posing.distance import blurred, fit_in
from qnerf.fields.posing.flesh import Flesh, flesh_grid
from qnerf.fields.posing.labels import label_flesh
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.bounds import BOX_EDGES, box_from_corners
from qnerf.scenes.proxies import box_corners
from qnerf.scenes.proxy_file import BOX_CORNERS
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Bounds, Proxy
from tests.fields.posing.analytic import SolidField, Tube, skeleton

BONES = ((0, 1), (1, 2), (2, 3))
# a trunk, a shoulder and an arm
SOURCE = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.3], [0.35, 0.0, 0.3], [0.35, 0.0, -0.3]]
TARGET = [*SOURCE[:3], [0.95, 0.0, 0.3]]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flesh() -> Flesh:
    tubes = [Tube(torch.tensor(SOURCE[a]), torch.tensor(SOURCE[b]), 0.07) for a, b in BONES]
    return flesh_grid(SolidField(tubes), torch.tensor([-0.4, -0.4, -0.8]), torch.tensor([0.7, 0.4, 0.6]), 64, 1.0)


def displaced(by: float) -> Proxy:
    """All joints moved by a length, as a share of the extent, across their bones; the target's as
    their bones bring them along."""
    proxy = skeleton(SOURCE, TARGET, BONES)
    away = by * extent(proxy) * torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.6, 0.8, 0.0]])
    target = proxy.target + carried(parts_of(proxy, PosingSettings(), CPU), away)
    return Proxy(proxy.kind, proxy.joints, proxy.bones, proxy.source + away, target)


def beside(proxy: Proxy) -> Tensor:
    """How far the joints of the arm are from its axis, (2,)."""
    return (proxy.source[2:, :2] - torch.tensor(SOURCE)[2:, :2]).norm(dim=-1)


def labelled(flesh: Flesh) -> Callable[[Proxy], Labelled]:
    air, room = torch.zeros_like(flesh.opacity), Room(flesh.low, flesh.low + 2, None, 0.0)

    def label(proxy: Proxy) -> Labelled:
        parts = parts_of(proxy, PosingSettings(), CPU)
        radii = len(parts) * [0.07]
        return Labelled(proxy, parts, radii, label_flesh(flesh, air, parts, radii, 0.5, 10.0, room))

    return label


def centre(proxy: Proxy, flesh: Flesh, refine: float = 0.06) -> Proxy:
    size = extent(proxy)
    return centred(proxy, labelled(flesh), flesh.opacity, refine * size, size).proxy


def test_a_proxy_that_fits_stays_bit_by_bit(flesh: Flesh) -> None:
    proxy = skeleton(SOURCE, TARGET, BONES)
    assert centre(proxy, flesh) is proxy
    assert fit_in(proxy, flesh, flesh.opacity, PosingSettings(), CPU).trust > 0.9


@pytest.mark.parametrize("by", [0.02, 0.05])
def test_joints_beside_the_flesh_are_put_on_its_axis(flesh: Flesh, by: float) -> None:
    proxy = displaced(by)
    found = centre(proxy, flesh)
    assert beside(proxy).max() > 0.9 * by * extent(proxy)
    assert beside(found).max() < 0.007 * extent(proxy)
    lengths = [(p[3] - p[2]).norm() for p in (found.source, found.target)]
    torch.testing.assert_close(*lengths, atol=5e-3, rtol=0)  # the arm goes on to be turned, not stretched
    exact, along = torch.tensor(TARGET), torch.tensor([0.6, 0.8, 0.0])
    assert (found.target[3] - exact[3]).norm() < 0.5 * by * extent(proxy) * along.norm(), "the target's hand goes along"
    assert torch.equal(found.source[0], proxy.source[0]), "a joint of bones that stay stays"


def test_at_a_bend_two_axes_say_where_the_joint_is(flesh: Flesh) -> None:
    """Both arms of an angle move, and its joint lies along one of them."""
    bent = [SOURCE[0], SOURCE[1], [0.4, 0.0, 0.3], SOURCE[3]]
    proxy = skeleton(bent, [SOURCE[0], SOURCE[1], [0.0, 0.37, 0.3], [0.0, 0.9, 0.3]], BONES)
    found = centre(proxy, flesh)
    assert (found.source[2] - torch.tensor(SOURCE[2])).norm() < 0.5 * 0.05


def test_trust_falls_with_the_displacement(flesh: Flesh) -> None:
    trusts = [fit_in(displaced(by), flesh, flesh.opacity, PosingSettings(), CPU).trust for by in (0.02, 0.05, 0.1)]
    assert trusts[0] > 0.75
    assert trusts[0] > trusts[1] > trusts[2]
    assert trusts[2] < 0.2


def test_no_joint_is_moved_by_more_than_it_may(flesh: Flesh) -> None:
    proxy = displaced(0.1)
    moved = (centre(proxy, flesh, 0.03).source - proxy.source).norm(dim=-1)
    assert moved.max() > 0.01 * extent(proxy)
    assert moved.max() <= 0.0301 * extent(proxy)


def test_boxes_still_proxies_and_no_refinement_are_left_alone(flesh: Flesh) -> None:
    small, large = (box_corners(torch.zeros(3), torch.tensor([s, 0.4, 0.5]), 0.0) for s in (0.4, 0.6))
    before, after = (Bounds((box_from_corners(corners.numpy()),), corners) for corners in (small, large))
    for proxy, bound in (
        (Proxy("box", BOX_CORNERS, BOX_EDGES, small, large), 0.06),
        # A sofa that grows: its bones are the edges of its box, which no flesh surrounds.
        (Proxy("skeleton", BOX_CORNERS, BOX_EDGES, small, large, before, after), 0.06),
        (displaced(0.05), 0.0),
    ):
        assert centre(proxy, flesh, bound) is proxy
        assert fit_in(proxy, flesh, flesh.opacity, PosingSettings(refine=bound), CPU).trust == 1
    assert fit_in(skeleton(SOURCE, SOURCE, BONES), flesh, flesh.opacity, PosingSettings(), CPU).trust == 1


def test_a_joint_that_keeps_its_direction_is_left_to_its_flesh(flesh: Flesh) -> None:
    proxy = replace(displaced(0.05), keeps_direction=(3,))
    found = centre(proxy, flesh)
    assert torch.equal(found.source[3], proxy.source[3])
    assert not torch.equal(found.source[2], proxy.source[2])


def test_a_target_joint_is_moved_as_the_bone_that_brings_it_is_turned() -> None:
    """The upper arm turns from -z to x and brings the elbow along; the hand is brought by the
    forearm, which turns from -z to z."""
    source = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]
    target = [source[0], source[1], [0.5, 0.0, 1.0], [0.5, 0.0, 1.5]]
    parts = parts_of(skeleton(source, target, BONES), PosingSettings(), CPU)
    moves = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, -0.1], [0.0, 0.0, -0.1]])
    expected = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 0.1]])
    torch.testing.assert_close(carried(parts, moves), expected, atol=1e-5, rtol=0)


def test_joints_that_hardly_move_beside_the_proxys_imprecision_stay() -> None:
    """Both states are imprecise by .02; the trunk does not move, and the arm's pivot stays where
    the source has it."""
    noise = 0.02 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    exact = skeleton(SOURCE, TARGET, BONES)
    before, after = exact.source + noise[0], exact.target + noise[1]
    parts = parts_of(Proxy(exact.kind, exact.joints, BONES, before, after), PosingSettings(), CPU)
    assert [part.moved for part in parts] == [False, False, True]
    pivot = parts[2].starts
    torch.testing.assert_close(parts[2].motion.forward(pivot), pivot)


def test_a_blur_is_the_gaussian() -> None:
    point = torch.zeros(9, 11, 13)
    point[4, 5, 6] = 1
    found = blurred(point, 1.3)
    ratio = found[5, 5, 7] / found[4, 5, 6]
    assert math.isclose(float(ratio), math.exp(-2 / (2 * 1.3**2)), rel_tol=1e-4)
    assert math.isclose(float(found.sum()), 1.0, abs_tol=0.01)
