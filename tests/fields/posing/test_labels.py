"""Nearness along dense matter, against Dijkstra's algorithm, and the ground."""

import heapq
import itertools

import pytest
import torch

from qnerf.fields.posing.carving import Room
from qnerf.fields.posing.flesh import Flesh
from qnerf.fields.posing.ground import find_ground
from qnerf.fields.posing.labels import label_flesh, spread
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.scene import Proxy
from tests.fields.posing.analytic import Floor, SolidField, Tube, chair


def dijkstra(cost: torch.Tensor, pace: torch.Tensor, step: float, reach: float) -> torch.Tensor:
    found = cost.clone()
    queue = [(float(cost[cell]), cell) for cell in itertools.product(*map(range, cost.shape)) if cost[cell] < reach]
    heapq.heapify(queue)
    while queue:
        spent, cell = heapq.heappop(queue)
        if spent > found[cell]:
            continue
        for shift in itertools.product((-1, 0, 1), repeat=3):
            other = tuple(a + b for a, b in zip(cell, shift, strict=True))
            if not any(shift) or not all(0 <= a < n for a, n in zip(other, cost.shape, strict=True)):
                continue
            length = step * sum(map(abs, shift)) ** 0.5
            new = spent + length * float(pace[cell] + pace[other]) / 2
            if new < min(reach, float(found[other]) - 1e-7):
                found[other] = new
                heapq.heappush(queue, (new, other))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_nearness_is_dijkstras(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    pace = 1 + 9 * (torch.rand(7, 5, 6, generator=generator) > 0.5).float()
    pace[3, 2] = torch.inf  # no way leads through
    cost, label = torch.full(pace.shape, torch.inf), torch.zeros(pace.shape, dtype=torch.long)
    cost[0, 0, 0], cost[6, 4, 5], label[6, 4, 5] = 0.0, 0.1, 1
    found, labels = spread(cost, label, pace, 0.5, 4.0)
    torch.testing.assert_close(found, dijkstra(cost, pace, 0.5, 4.0), atol=1e-4, rtol=0)
    alone = [spread(torch.where(label == part, cost, torch.inf), label, pace, 0.5, 4.0)[0] for part in (0, 1)]
    nearer = found.isfinite() & ((alone[0] - alone[1]).abs() > 1e-4)
    assert nearer.any()
    assert torch.equal(labels[nearer], (alone[1] < alone[0])[nearer].long())


def test_the_ground_is_the_plane_below_the_object() -> None:
    leg = Tube(torch.tensor([0.1, 0.0, -0.3]), torch.tensor([0.1, 0.0, 0.4]), 0.1)
    low, high = torch.tensor([-0.6, -0.6, -0.6]), torch.tensor([0.6, 0.6, 0.6])
    ground = find_ground(SolidField([leg, Floor(-0.41)]), low, high, -0.3, 1.0)
    assert ground is not None
    assert abs(float(ground.height(torch.tensor([0.3, 0.2, -0.41])))) < 0.01
    assert ground.normal[2] > 0.999
    assert find_ground(SolidField([leg]), low, high, -0.3, 1.0) is None


@pytest.mark.parametrize("thickness", [0.1, 0.16, 0.25])
def test_a_head_that_keeps_its_direction_keeps_its_flesh_however_thick_the_bone_in_it_is(thickness: float) -> None:
    """A ball of radius .2 round the end of a bone that lies in it for the most part: the half
    beyond the end is the head's."""
    head, neck = [0.0, 0.0, 0.3], [0.0, 0.0, 0.05]
    proxy = Proxy(
        "skeleton",
        ("head", "neck"),
        ((0, 1),),
        torch.tensor([head, neck]),
        torch.tensor([[0.2, 0, 0.4], neck]),
        keeps_direction=(0,),
    )
    parts = parts_of(proxy, PosingSettings(), torch.device("cpu"))
    low, step = torch.tensor([-0.3, -0.3, -0.1]), 0.03
    empty = Flesh(low, step, torch.zeros(20, 20, 24))
    away = (empty.centres() - torch.tensor(head)).norm(dim=-1)
    flesh = Flesh(low, step, (away < 0.2).float())
    room = Room(low, low + step * torch.tensor(flesh.opacity.shape), None, 0.0)
    labels = label_flesh(flesh, torch.zeros_like(flesh.opacity), parts, [thickness, 0.15], 1.0, 10.0, room)
    bone, kept = labels.shares
    beyond = (away < 0.2 - 2 * step) & (empty.centres()[..., 2] > 0.3 + 2 * step)
    assert beyond.sum() > 50
    assert (kept[beyond] == 1).all()
    assert (bone[beyond] == 0).all()
    assert bone[(away < 0.2) & (empty.centres()[..., 2] < 0.16)].mean() > 0.9, "the bone has its own flesh still"


def test_what_is_in_no_box_goes_with_the_box_that_is_nearest_along_flesh() -> None:
    """A pillow on the seat sticks out of the seat's box beside the back that grows; a knob stands
    on top of the back."""
    [part] = parts_of(chair(0.5), PosingSettings(), torch.device("cpu"))
    low, step = torch.tensor([-0.7, -0.7, 0.0]), 0.05
    flesh = Flesh(low, step, torch.zeros(28, 28, 40))
    x, y, z = flesh.centres().unbind(-1)
    pillow = (x.abs() < 0.2) & ((y - 0.1).abs() < 0.1) & (z > 0.4) & (z < 0.9)
    knob = (x.abs() < 0.1) & ((y + 0.5).abs() < 0.1) & (z > 1.4) & (z < 1.8)
    flesh = Flesh(low, step, (pillow | knob).float())
    room = Room(low, low + step * torch.tensor(flesh.opacity.shape), None, 0.0)
    [moved] = label_flesh(flesh, torch.zeros_like(flesh.opacity), [part], [0.0], 1.0, 10.0, room).shares
    assert (z[pillow] > 0.7).any(), "some of it is in no box"
    assert (moved[pillow] == 0).all()
    assert (moved[knob] == 1).all()
