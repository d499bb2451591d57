"""An articulated desk lamp, as tall as a figure so that one ring of cameras fits both: base, two arms and head on three joints.

The arms move in the vertical plane of the heading. Angles are radians from straight up, leaning forwards where positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from qnerf.scenes.procedural.shape import BOUND, MARGIN, UP, Names, Pairs, Point, turn_about_z
from qnerf.scenes.solids import Box, Capsule, Cone, Solid

SHADE_RADIUS, BASE_RADIUS = (0.21, 0.29), (0.24, 0.34)


@dataclass(frozen=True)
class LampForm:
    """Lengths and thicknesses, metres, and decoration. Neither the caption nor a control determines them."""

    base_radius: float
    base_height: float
    square_base: bool
    lower: float
    upper: float
    arm_radius: float
    twin_arms: bool
    shade: float
    shade_radius: float
    throat: float


@dataclass(frozen=True)
class LampPose:
    """Lean of the lower arm, of the upper arm, and of the head's opening."""

    lower: float
    upper: float
    head: float


@dataclass(frozen=True)
class Lamp:
    JOINTS: ClassVar[Names] = ("foot", "hinge", "elbow", "neck", "head")
    BONES: ClassVar[Pairs] = ((0, 1), (1, 2), (2, 3), (3, 4))
    KEEPS_DIRECTION: ClassVar[Names] = ()
    PARTS: ClassVar[Names] = ("shade", "arms", "base")
    FOCUS: ClassVar[Point] = (0.0, 0.0, 0.66)
    DISTANCE: ClassVar[float] = 3.1

    form: LampForm
    pose: LampPose
    edited_pose: LampPose
    heading: float

    def nouns(self) -> Names:
        return ("lamp",)

    def joints(self, edited: bool = False) -> np.ndarray:
        return lamp_joints(self.form, self.edited_pose if edited else self.pose) @ turn_about_z(self.heading).T

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        form, joints = self.form, self.joints(edited)
        side = form.arm_radius * 1.6 * turn_about_z(self.heading)[:, 1]
        return [*self._base(), *_arms(form, joints, side), *_head(form, joints[3], joints[4])]

    def bounds(self, edited: bool = False) -> Sequence[Capsule | Box]:
        foot, hinge, elbow, neck, head = self.joints(edited)
        half = np.array([BASE_RADIUS[1] + MARGIN, BASE_RADIUS[1] + MARGIN, 0.15])
        return [
            Box(foot * [1, 1, 0] + 0.15 * UP, half, turn_about_z(self.heading), 0.03, BOUND),
            *(Capsule(a, b, 0.09 + MARGIN, BOUND) for a, b in ((hinge, elbow), (elbow, neck))),
            Capsule(neck, head, SHADE_RADIUS[1] + MARGIN, BOUND),
        ]

    def _base(self) -> list[Solid]:
        form, turn = self.form, turn_about_z(self.heading)
        top = form.base_height * UP
        if form.square_base:
            half = np.array([0.85 * form.base_radius, 0.85 * form.base_radius, form.base_height / 2])
            plate: Solid = Box(top / 2, half, turn, 0.45 * form.base_height, "base")
        else:
            plate = Cone(np.zeros(3), top, form.base_radius, 0.86 * form.base_radius, "base")
        return [plate, Cone(top, top + 0.09 * UP, 0.085, 0.05, "base")]


def _arms(form: LampForm, joints: np.ndarray, side: np.ndarray) -> list[Solid]:
    """Two arms of one rod or of two rods side by side, and the knobs of their hinges."""
    _, hinge, elbow, neck, _ = joints
    offsets = (side, -side) if form.twin_arms else (0 * side,)
    spans = ((hinge, elbow), (elbow, neck))
    rods = [Capsule(a + offset, b + offset, form.arm_radius, "arms") for a, b in spans for offset in offsets]
    knobs = [Capsule(at - 1.3 * side, at + 1.3 * side, 1.9 * form.arm_radius, "arms") for at in (hinge, elbow, neck)]
    return [*rods, *knobs]


def _head(form: LampForm, neck: np.ndarray, mouth: np.ndarray) -> list[Solid]:
    """The shade, a cone open towards the mouth; its opening glows, and the bulb looks out of it."""
    out = (mouth - neck) / np.linalg.norm(mouth - neck)
    bulb = mouth - 0.25 * form.shade_radius * out
    return [
        Cone(neck - 0.04 * out, mouth, form.throat, form.shade_radius, "shade"),
        Capsule(neck - 0.04 * out, neck - 0.04 * out, 0.96 * form.throat, "shade"),
        Cone(mouth, mouth + 0.004 * out, 0.88 * form.shade_radius, 0.88 * form.shade_radius, "light"),
        Capsule(bulb, bulb, 0.45 * form.shade_radius, "bulb"),
    ]


def lamp_joints(form: LampForm, pose: LampPose) -> np.ndarray:
    """(5, 3) positions in the order of `Lamp.JOINTS`, heading along +x."""
    foot, hinge = np.array([0.0, 0.0, form.base_height]), np.array([0.0, 0.0, form.base_height + 0.12])
    elbow = hinge + form.lower * _lean(pose.lower)
    neck = elbow + form.upper * _lean(pose.upper)
    return np.stack([foot, hinge, elbow, neck, neck + form.shade * _lean(pose.head)])


def _lean(angle: float) -> np.ndarray:
    return np.array([np.sin(angle), 0.0, np.cos(angle)])


def draw_lamp(rng: np.random.Generator) -> Lamp:
    """A random lamp, and the same with its upper arm bent and its head turned: the edit."""
    form = LampForm(
        base_radius=rng.uniform(*BASE_RADIUS),
        base_height=rng.uniform(0.06, 0.11),
        square_base=bool(rng.random() < 0.35),
        lower=rng.uniform(0.5, 0.68),
        upper=rng.uniform(0.45, 0.62),
        arm_radius=rng.uniform(0.026, 0.042),
        twin_arms=bool(rng.random() < 0.4),
        shade=rng.uniform(0.3, 0.4),
        shade_radius=rng.uniform(*SHADE_RADIUS),
        throat=rng.uniform(0.07, 0.11),
    )
    pose = draw_lamp_pose(form, rng)
    return Lamp(form, pose, bend(form, pose, rng), rng.uniform(-np.pi, np.pi))


def draw_lamp_pose(form: LampForm, rng: np.random.Generator) -> LampPose:
    """A pose that stays in the picture and over the floor; the elbow is bent to either side."""
    while True:
        lower = rng.uniform(-0.8, 0.8)
        upper = lower + rng.choice([-1, 1]) * rng.uniform(0.4, 1.9)
        pose = LampPose(lower, upper, np.sign(upper) * rng.uniform(1.7, 3.0))
        if _stands_well(form, pose):
            return pose


def bend(form: LampForm, pose: LampPose, rng: np.random.Generator) -> LampPose:
    """Another lean of the upper arm and the head, far enough from the first to be seen; the lower arm stays."""
    before = lamp_joints(form, pose)
    while True:
        upper = pose.lower + rng.uniform(-1.9, 1.9)
        edited = replace(pose, upper=upper, head=np.sign(upper) * rng.uniform(1.7, 3.0))
        moved = np.linalg.norm(lamp_joints(form, edited)[3:] - before[3:], axis=1)
        if _stands_well(form, edited) and moved.min() > 0.35:
            return edited


def _stands_well(form: LampForm, pose: LampPose) -> bool:
    _, _, elbow, neck, head = lamp_joints(form, pose)
    inside = np.abs(np.stack([elbow, neck, head])[:, 0]).max() < 0.75
    return bool(inside and neck[2] > 0.5 and 0.35 < head[2] < 1.4 and neck[2] < 1.4)
