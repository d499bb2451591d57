"""Inverse skinning: each moved part carries points of the edited scene back to the source, smoothly across its joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.fields.posing.labels import Labels, smoothstep
from qnerf.fields.posing.motions import rotation_axis, turn_points
from qnerf.fields.posing.parts import Part

CAP = 1.15  # radius of the ball round a joint whose flesh belongs to both parts, in radii of the limb's flesh
BALL = 2.0  # radius of the ball round a joint in which motions are blended, likewise


@dataclass(frozen=True)
class Joint:
    """Where a moved part meets another one. source, target: (3,). normal: (3,) in the edited scene, towards the other part.

    axis, angle: of the turn in the source that takes this part's motion to the other's. radius: of the flesh there, world units.
    """

    source: Tensor
    target: Tensor
    normal: Tensor
    axis: Tensor
    angle: Tensor
    radius: float
    still: bool  # whether the other part does not move


@dataclass(frozen=True)
class Warp:
    """The moved parts, in the order of `labels.shares`, each with its joints. still: lengths below it are no motion."""

    labels: Labels
    parts: list[Part]
    joints: list[list[Joint]]
    blend: float
    still: float

    def back(self, index: int, points: Tensor) -> Tensor:
        """Points (P, 3) of the edited scene to where part `index` has them from, in the source.

        Beside a joint the part's motion passes into its neighbour's: with β from 0 to 1 across the plane between the two,
        W(x) = j + Rot(axis, β angle) (T(x) - j), j the joint in the source. Both parts agree there.
        """
        part = self.parts[index]
        found = part.motion.back(points)
        for joint in self.joints[index] if self.blend else ():
            away = points - joint.target
            across = (away @ joint.normal) / (self.blend * joint.radius)
            inside = 1 - smoothstep(away.norm(dim=-1) / joint.radius, BALL / 2, BALL)
            share = smoothstep(across, -1.0, 1.0) * inside
            found = joint.source + turn_points(found - joint.source, joint.axis, share * joint.angle)
        return found

    def member(self, index: int, places: Tensor, shares: Tensor) -> Tensor:
        """How far source points (P, 3) are part `index`'s, (P,) in [0, 1]. shares: (P, K), the labels there.

        The flesh round its joints is also a part's own: a round end that closes the outside of a bend.
        """
        found = shares[:, index]
        for joint in self.joints[index]:
            found = torch.maximum(found, _cap(joint, places))
        return self._where_moved(self.parts[index], found, places)

    def stays(self, points: Tensor) -> Tensor:
        """How far points (P, 3) of the source stay where they are, (P,): no moved part's, or round a joint with a still part."""
        shares = self.labels.at(points)
        left = torch.zeros(len(points), device=points.device)
        for index, part in enumerate(self.parts):
            gone = shares[:, index]
            for joint in self.joints[index]:
                if joint.still:
                    gone = gone * (1 - _cap(joint, points))
            left = left + self._where_moved(part, gone, points)
        return (1 - left).clamp(0, 1)

    def _where_moved(self, part: Part, share: Tensor, places: Tensor) -> Tensor:
        """share (P,), less where a part that deforms has source points (P, 3) stay."""
        if not part.smooth:
            return share
        rows = share.nonzero()[:, 0]
        moved, share = places[rows], share.clone()
        share[rows] *= smoothstep((part.motion.forward(moved) - moved).norm(dim=-1), 0.0, self.still)
        return share


def make_joints(part: Part, index: int, parts: list[Part], radii: list[float]) -> list[Joint]:
    """Where a moved bone (of `index` in parts) meets others; of several at one joint, the one that goes on straightest."""
    made = []
    for end in part.joints:
        others = [other for other in range(len(parts)) if other != index and end in parts[other].joints]
        if not others:
            continue
        own = _away(part, end)
        directions = [_away(parts[other], end) for other in others]
        best = min(range(len(others)), key=lambda k: float(own[0] @ directions[k][0]))
        other = parts[others[best]]
        # Past the joint the part moves as the other does: R_other = Rot(axis, angle) R_own.
        rotation = torch.eye(3, device=own[0].device) if not other.moved else other.motion.rotation
        axis, angle = rotation_axis(rotation @ part.motion.rotation.T)
        source = part.starts[0] if end == part.joints[0] else part.ends[0]
        normal = directions[best][1] - own[1]
        normal = normal / normal.norm() if normal.norm() > 1e-3 else -own[1]
        radius = min(radii[index], radii[others[best]]) if other.moved else radii[index]
        still = any(not parts[k].moved for k in others)
        made.append(Joint(source, part.motion.forward(source[None])[0], normal, axis, angle, radius, still))
    return made


def _away(part: Part, joint: int) -> tuple[Tensor, Tensor]:
    """Unit directions (3,) of a bone away from one of its joints, in the source and in the edited scene."""
    near, far = (part.starts, part.ends) if joint == part.joints[0] else (part.ends, part.starts)
    before = (far - near)[0]
    after = (part.motion.forward(far) - part.motion.forward(near))[0] if part.moved else before
    return before / before.norm().clamp_min(1e-9), after / after.norm().clamp_min(1e-9)


def _cap(joint: Joint, points: Tensor) -> Tensor:
    away = (points - joint.source).norm(dim=-1) / (CAP * joint.radius)
    return 1 - smoothstep(away, 0.9, 1.1)
