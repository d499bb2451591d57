"""Which part the flesh belongs to: the one that is nearest along dense matter (geodesic distances
on a grid)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.carving import Room, SourceViews
from qnerf.fields.posing.flesh import Flesh
from qnerf.fields.posing.ground import Ground
from qnerf.fields.posing.parts import Part

CORE = 0.8  # of a bone's flesh, in radii, is its own without asking
# shares of the views that show what is not background: below the first matter is air, above the
# second it is not
SHOWN = (0.4, 0.6)
SOFTEN = 3  # cells over which labels pass into each other


@dataclass(frozen=True)
class Labels:
    """shares: (K, X, Y, Z) in [0, 1], how far a cell belongs to each of K moved parts; the rest
    stays where it is. air: (X, Y, Z), how far a cell's matter is none, but air that the field has
    filled with the background's colour.

    clearance: what is lower over the ground than this, world units, belongs to none.
    """

    flesh: Flesh
    shares: Tensor
    air: Tensor
    ground: Ground | None
    clearance: float

    def at(self, points: Tensor) -> Tensor:
        """(P, K) at points (P, 3) of the source; 0 outside of the grid.

        Sharper than the cells are: a twentieth of dense flesh that is left behind is still opaque.
        """
        return self._over_ground(smoothstep(self.flesh.lookup(self.shares, points), 0.2, 0.8), points)

    def matter(self, points: Tensor) -> Tensor:
        """How far the field's density at points (P, 3) of the source is more than air, (P,) in [0,
        1]; 1 outside of the grid."""
        return 1 - self._over_ground(self.flesh.lookup(self.air[None], points), points)[:, 0]

    def _over_ground(self, values: Tensor, points: Tensor) -> Tensor:
        if self.ground is None:
            return values
        return values * smoothstep(self.ground.height(points)[:, None], 0.5 * self.clearance, self.clearance)


def air_in(flesh: Flesh, views: SourceViews) -> Tensor:
    """How far each cell's matter is air that the field has filled, (X, Y, Z) in [0, 1]."""
    return 1 - smoothstep(views.object_share(flesh.centres().view(-1, 3)), *SHOWN).view(flesh.opacity.shape)


def label_flesh(
    flesh: Flesh, air: Tensor, parts: list[Part], radii: list[float], reach: float, gap_cost: float, room: Room
) -> Labels:
    """air: of the cells, as `air_in`. Nearness starts at each part's flesh; what is farther than
    `reach` (world units), or ground, belongs to no part. What keeps its direction at a joint comes
    before the bones that end there."""
    points = flesh.centres()
    flat = points.view(-1, 3)
    away = [part.distance(flat) - CORE * radius for part, radius in zip(parts, own_radii(parts, radii), strict=True)]
    # Round the end of a bone both are as near, so the bone is a little farther.
    first = [0.01 * flesh.step * part.keeps for part in parts]
    away = torch.stack([each.clamp_min(0) - ahead for each, ahead in zip(away, first, strict=True)])
    nearest, label = (found.view(points.shape[:-1]) for found in away.min(0))
    cost = torch.where(
        nearest <= 0.6 * flesh.step, 0.0, torch.inf
    )  # a bone thinner than a cell starts in those that it runs through
    for index, part in enumerate(parts):
        if boxed := part.boxed(flat):  # what is in none belongs to the box that is nearest along dense matter
            moves, stays = (inside.view(cost.shape) for inside in boxed)
            cost, label = torch.where(moves | stays, 0.0, torch.inf), torch.where(moves, index, len(parts))
    pace = 1 + (gap_cost - 1) * (1 - flesh.opacity * (1 - air))
    if room.ground is not None:
        below = room.ground.height(points) < room.clearance
        # no way leads through the ground
        cost, pace = torch.where(below, torch.inf, cost), torch.where(below, torch.inf, pace)
    cost, label = spread(cost, label, pace, flesh.step, reach)
    label = torch.where(cost < reach, label, len(parts))
    moved = [index for index, part in enumerate(parts) if part.moved]
    one_hot = torch.stack([(label == index).float() for index in moved])
    soft = F.avg_pool3d(F.pad(one_hot[None], (SOFTEN // 2,) * 6, mode="replicate"), SOFTEN, 1)[0]
    return Labels(flesh, soft, air, room.ground, room.clearance)


def own_radii(parts: list[Part], radii: list[float]) -> list[float]:
    """Of the flesh where each part's labels start: a bone is no thicker there than what keeps its
    direction at one of its ends, or the bone, which turns, would have the shell of it."""
    pairs = list(zip(parts, radii, strict=True))
    kept = {part.joints[0]: radius for part, radius in pairs if part.keeps}
    return [min([radius, *(kept[joint] for joint in part.joints if joint in kept)]) for part, radius in pairs]


def smoothstep(x: Tensor, low: float, high: float) -> Tensor:
    """0 below low, 1 above high, smooth in between."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def spread(cost: Tensor, label: Tensor, pace: Tensor, step: float, reach: float) -> tuple[Tensor, Tensor]:
    """Least cost of a way (X, Y, Z) from any cell where it is known, and the label that it starts with.

    A way leads from cell to cell, to any of 26 neighbours, at the mean of their paces; what costs
    more than `reach` is not looked for. Bellman and Ford's relaxation, direction by direction,
    until nothing changes.
    """
    shifts = [shift for shift in itertools.product((-1, 0, 1), repeat=3) if any(shift)]
    cost, label = cost.clone(), label.clone()
    for _ in range(sum(cost.shape)):
        before = cost.clone()
        for shift in shifts:
            here, there = zip(*(_overlap(n, by) for n, by in zip(cost.shape, shift, strict=True)), strict=True)
            length = step * sum(map(abs, shift)) ** 0.5
            found = cost[there] + length * (pace[here] + pace[there]) / 2
            better = (found < cost[here]) & (found < reach)
            cost[here] = torch.where(better, found, cost[here])
            label[here] = torch.where(better, label[there], label[here])
        if torch.equal(cost, before):
            break
    return cost, label


def _overlap(count: int, by: int) -> tuple[slice, slice]:
    """Cells of an axis that have a neighbour `by` away, and these neighbours."""
    return slice(max(0, -by), count - max(0, by)), slice(max(0, by), count - max(0, -by))
