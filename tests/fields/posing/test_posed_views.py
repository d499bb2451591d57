"""Posed renders of solids that are known in closed form, against the truth: the solids moved and rendered."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.fields.posing import posed_field
from qnerf.fields.posing.carving import source_views
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.posed_field import object_room, pose_field
from qnerf.fields.posing.posed_views import PosedViews, _even, pose_views
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.bounds import BOX_EDGES
from qnerf.scenes.proxies import box_corners
from qnerf.scenes.proxy_file import BOX_CORNERS
from qnerf.scenes.scene import Proxy
from tests.fields.posing.analytic import Block, Floor, SolidField, Tube, cameras, psnr, render, skeleton

SETTINGS = PosingSettings(voxels=48, samples=192, relight=False)  # what these solids show is paint
TRUNK = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.3]]


def tube(joints: list[list[float]], radius: float = 0.07, colour: int = 0) -> Tube:
    return Tube(torch.tensor(joints[0]), torch.tensor(joints[1]), radius, colour)


def posed(field: SolidField, proxy: Proxy, settings: PosingSettings = SETTINGS) -> tuple[PosedViews, Tensor]:
    views = cameras()
    source = render(field, views)
    return pose_views(field, proxy, views, source, settings), source


def check(source: list[list[list[float]]], target: list[list[list[float]]], least: float = 27.0) -> PosedViews:
    """Tubes that lie along bones, the first of which stays, posed as the truth has them."""
    bones = tuple((2 * index, 2 * index + 1) for index in range(len(source)))
    before_joints, after_joints = ([joint for bone in state for joint in bone] for state in (source, target))
    proxy = skeleton(before_joints, after_joints, bones)
    before, after = (SolidField([tube(bone, 0.07, index % 3) for index, bone in enumerate(state)]) for state in (source, target))
    found, images = posed(before, proxy)
    truth = render(after, cameras())
    changed = (truth - images).abs().amax(1) > 0.05
    assert changed.any()
    assert psnr(found.images, truth, changed) > least
    assert found.changed[changed].mean() > 0.85
    return found


def test_a_part_that_moves_rigidly_looks_as_the_truth_does() -> None:
    found = check([TRUNK, [[0.3, 0.0, 0.2], [0.3, 0.0, -0.25]]], [TRUNK, [[0.3, 0.0, 0.2], [0.6, 0.3, 0.35]]])
    assert found.trust[found.moved > 0.9].mean() > 0.8
    assert (found.trust[found.changed == 0] == 1).all()


def test_two_parts_that_move() -> None:
    source = [TRUNK, [[0.3, 0.0, 0.2], [0.3, 0.0, -0.25]], [[-0.3, 0.0, 0.2], [-0.3, 0.0, -0.25]]]
    check(source, [TRUNK, [[0.3, 0.0, 0.2], [0.6, 0.0, 0.5]], [[-0.3, 0.0, 0.2], [-0.6, -0.3, 0.2]]])


def test_a_part_that_moves_to_where_another_was() -> None:
    arms = [[0.3, 0.0, 0.2], [0.3, 0.0, -0.25]], [[0.6, 0.0, 0.4], [0.6, 0.0, -0.05]]
    check([TRUNK, *arms], [TRUNK, arms[1], [[-0.5, 0.0, 0.4], [-0.5, 0.0, -0.05]]])


def test_a_part_that_is_turned_by_half_a_turn() -> None:
    check([TRUNK, [[0.3, 0.0, 0.2], [0.3, 0.0, -0.2]]], [TRUNK, [[0.3, 0.0, -0.2], [0.3, 0.0, 0.2]]])


def test_what_keeps_its_direction_moves_with_the_bone_and_does_not_turn() -> None:
    """A box at the end of an arm that is raised."""
    arm, moved = [[0.3, 0.0, 0.3], [0.3, 0.0, -0.1]], [[0.3, 0.0, 0.3], [0.65, 0.0, 0.5]]
    half = torch.tensor([0.16, 0.12, 0.1])
    before, after = (SolidField([tube(TRUNK), tube(bone), Block(torch.tensor(bone[1]), half, 0.3, 2)]) for bone in (arm, moved))
    proxy = skeleton([*TRUNK, *arm], [*TRUNK, *moved], ((0, 1), (2, 3)))
    found, images = posed(before, replace(proxy, keeps_direction=(3,)))
    truth = render(after, cameras())
    changed = (truth - images).abs().amax(1) > 0.05
    assert psnr(found.images, truth, changed) > 25
    assert found.trust[found.moved > 0.9].mean() > 0.8


def test_a_part_that_is_moved_by_nothing_is_the_sources_field() -> None:
    """The warp, the shares and the sum of what is brought and what stays give back each point of the source."""
    joints = [*TRUNK, [0.0, 0.0, 0.3], [0.35, 0.0, 0.3]]
    views, proxy = cameras(), skeleton(joints, joints, ((0, 1), (2, 3)))
    field = SolidField([tube(TRUNK), tube(joints[2:])])
    room = object_room(field, proxy, torch.device("cpu"))
    source = source_views(field, views, render(field, views), room, 48)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(posed_field, "parts_of", lambda *given: [replace(part, moved=True) for part in parts_of(*given)])
        found = pose_field(field, proxy, SETTINGS, room, source)
    assert found is not None
    spread = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    points = spread * torch.tensor([0.6, 0.3, 1.0]) - torch.tensor([0.15, 0.15, 0.6])
    density, colour = field.radiance(points)
    given, inside = found(points), density > 200
    assert inside.sum() > 50
    assert (given.moved[inside] > 0.9).all()
    torch.testing.assert_close(given.colour[inside], colour[inside], atol=1e-4, rtol=0)
    share = given.density[inside] / density[inside]
    assert (share > 0.999).float().mean() > 0.9
    assert share.min() > 0.49  # in the seam between two labels, thinner than a cell
    torch.testing.assert_close(given.density[~inside], density[~inside], atol=200, rtol=0)


def test_a_proxy_that_does_not_move_leaves_the_source() -> None:
    joints = [*TRUNK, [0.3, 0.0, 0.2], [0.3, 0.0, -0.25]]
    field = SolidField([tube(TRUNK), tube(joints[2:])])
    found, source = posed(field, skeleton(joints, joints, ((0, 1), (2, 3))))
    assert torch.equal(found.images, source)
    assert not found.changed.any()
    assert not found.moved.any()
    assert (found.trust == 1).all()


@pytest.mark.parametrize("yaw", [0.0, 40.0, 180.0])
def test_a_box_that_grows_and_turns(yaw: float) -> None:
    sides = torch.tensor([0.7, 0.4, 0.5]), torch.tensor([0.9, 0.4, 0.7])
    small, large = (box_corners(torch.zeros(3), size, angle) for size, angle in zip(sides, (0.0, yaw), strict=True))
    proxy = Proxy("box", BOX_CORNERS, BOX_EDGES, small, large)
    before, after = (Block(torch.zeros(3), s / 2, math.radians(a)) for s, a in zip(sides, (0.0, yaw), strict=True))
    found, _ = posed(SolidField([before]), proxy)
    truth = render(SolidField([after]), cameras())
    assert psnr(found.images, truth, found.changed > 0.5) > 27


def test_what_hangs_on_a_part_moves_with_it_and_the_ground_does_not() -> None:
    """A bag below a hand that hangs just over the ground."""
    arm, moved = [[0.3, 0.0, 0.3], [0.3, 0.0, -0.2]], [[0.3, 0.0, 0.3], [0.8, 0.0, 0.3]]
    bag = [[0.3, 0.0, -0.3], [0.3, 0.0, -0.34]], [[0.9, 0.0, 0.3], [0.94, 0.0, 0.3]]
    proxy = skeleton([*TRUNK, *arm], [*TRUNK, *moved], ((0, 1), (2, 3)))
    still = [tube(TRUNK), Floor(-0.52)]
    before = SolidField([*still, tube(arm), tube(bag[0], 0.13, 2)])
    after = SolidField([*still, tube(moved), tube(bag[1], 0.13, 2)])
    found, images = posed(before, proxy)
    truth = render(after, cameras())
    assert psnr(found.images, truth, (truth - images).abs().amax(1) > 0.05) > 24


def test_a_proxy_beside_the_flesh_is_not_trusted() -> None:
    arm = [[0.3, 0.0, 0.2], [0.3, 0.0, -0.25]]
    source = [*TRUNK, [0.45, 0.2, 0.2], [0.45, 0.2, -0.25]]
    field = SolidField([tube(TRUNK), tube(arm)])
    found, _ = posed(field, skeleton(source, [*TRUNK, [0.45, 0.2, 0.2], [0.8, 0.2, 0.2]], ((0, 1), (2, 3))))
    assert (found.trust * found.moved).sum() < 0.2 * found.moved.sum().clamp_min(1)


def test_posing_twice_gives_the_same_bits() -> None:
    joints = [*TRUNK, [0.3, 0.0, 0.2], [0.3, 0.0, -0.25]]
    proxy = skeleton(joints, [*joints[:3], [0.6, 0.0, 0.4]], ((0, 1), (2, 3)))
    field = SolidField([tube(TRUNK), tube(joints[2:])])
    first, second = (posed(field, proxy, PosingSettings(voxels=24, samples=32))[0] for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.trust, second.trust)


def test_no_tear_at_a_bent_joint() -> None:
    """A straight arm bent by 120°, through a window of a camera of 512 pixels: nothing shows through its outside or its joint."""
    straight = [*TRUNK, [0.2, 0.0, 0.0], [0.5, 0.0, 0.0], [0.8, 0.0, 0.0]]
    far = [0.5 + 0.3 * math.cos(math.radians(120)), 0.0, 0.3 * math.sin(math.radians(120))]
    bent = [*straight[:4], far]
    proxy = skeleton(straight, bent, ((0, 1), (2, 3), (3, 4)))
    field = SolidField([tube(TRUNK), Tube(torch.tensor(straight[2]), torch.tensor(straight[4]), 0.07)])
    camera = cameras(4, 512)[[3]]
    elbow = camera.project(torch.tensor([bent[3]]))[0][0, 0]
    window = type(camera)(camera.camera_to_world, camera.focal, camera.centre - elbow + 48, 96, 96)
    source = render(field, window, 256)
    found = pose_views(field, proxy, window, source, SETTINGS)
    solids = [Tube(torch.tensor(bent[a]), torch.tensor(bent[b]), 0.07) for a, b in ((2, 3), (3, 4))]
    truth = render(SolidField(solids), window, 256)
    inside = (truth - 0.5).abs().amax(1, keepdim=True) > 0.04
    core = -torch.nn.functional.max_pool2d(-inside.float(), 3, 1, 1)[:, 0] > 0  # but for the outermost pixel
    assert core.sum() > 1000
    assert (found.images - 0.5).abs().amax(1)[core].min() > 0.04
    outside = torch.nn.functional.max_pool2d(inside.float(), 5, 1, 2)[:, 0] == 0
    assert (found.images - 0.5).abs().amax(1)[outside].max() < 0.04


def test_trust_is_smooth_where_something_changes_and_that_of_the_pixel_elsewhere() -> None:
    """A pixel of which a trillionth changes has not changed."""
    trust, changed = torch.ones(1, 5, 9), torch.full((1, 5, 9), 1e-12)
    changed[:, :, 4:7] = 1
    trust[:, 2, 5] = 0.1
    found = _even(trust, changed)
    assert (found[:, :, :4] == 1).all()
    assert found[0, 2, 5] == pytest.approx(0.9)
    assert found[0, 2, 4] == pytest.approx(1 - 0.9 / 6)
