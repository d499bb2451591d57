"""The figure as a kind of object of the world: its edit raises one arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qnerf.scenes.procedural.figure import (
    BONES,
    JOINTS,
    Body,
    J,
    Pose,
    draw_body,
    draw_pose,
    figure_joints,
    figure_primitives,
    raise_arm,
)
from qnerf.scenes.procedural.shape import MARGIN, Names, Pairs, Point, capsule_round
from qnerf.scenes.solids import Capsule, Solid

TRUNK_RADIUS, ARM_RADIUS, LEG_RADIUS = 0.28, 0.1, 0.17  # of the stoutest figure, with hat, bag, hands and shoes


@dataclass(frozen=True)
class Puppet:
    JOINTS: ClassVar[Names] = JOINTS
    BONES: ClassVar[Pairs] = BONES
    KEEPS_DIRECTION: ClassVar[Names] = ()
    PARTS: ClassVar[Names] = ("skin", "shirt", "trousers")
    FOCUS: ClassVar[Point] = (0.0, 0.0, 0.82)
    DISTANCE: ClassVar[float] = 3.4

    body: Body
    pose: Pose
    edited_pose: Pose
    extras: tuple[str, ...]

    @property
    def heading(self) -> float:
        return self.pose.heading

    def nouns(self) -> Names:
        return ("figure", "person")

    def joints(self, edited: bool = False) -> np.ndarray:
        return figure_joints(self.body, self.edited_pose if edited else self.pose)

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        return figure_primitives(self.body, self.joints(edited), self.heading, self.extras)

    def bounds(self, edited: bool = False) -> Sequence[Capsule]:
        """One capsule round trunk and head, and one round each limb, which leaves the side of its bend open."""
        at = self.joints(edited)
        limbs = [(("shoulder", "elbow", "hand"), ARM_RADIUS), (("hip", "knee", "foot"), LEG_RADIUS)]
        trunk = capsule_round(at[[J["pelvis"], J["head"]]], TRUNK_RADIUS + MARGIN)
        return [trunk] + [
            capsule_round(at[[J[f"{name}_{side}"] for name in names]], radius + MARGIN) for names, radius in limbs for side in "lr"
        ]


def draw_puppet(rng: np.random.Generator, edited_arm_down: bool) -> Puppet:
    """A random figure. edited_arm_down: the arm that the edit raises starts down; else either may be up."""
    body = draw_body(rng)
    side = int(rng.integers(2))
    up = rng.random(2) < 0.35
    if edited_arm_down:
        up[side] = False
    pose = draw_pose(rng, (bool(up[0]), bool(up[1])))
    edited = raise_arm(pose, side, rng)
    extras = tuple(name for name, share in (("hat", 0.35), ("hair", 0.55), ("bag", 0.35)) if rng.random() < share)
    return Puppet(body, pose, edited, extras)
