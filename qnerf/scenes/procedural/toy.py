"""A four-legged toy animal: its edit raises a foreleg or its head.

Before its heading turns it, it looks along +x; its left is at positive y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from qnerf.scenes.procedural.shape import MARGIN, UP, Names, Pairs, Point, capsule_round, turn_about_z
from qnerf.scenes.solids import Capsule, Cone, Solid

LEGS = ("fl", "fr", "bl", "br")
FEET = (6, 9, 12, 15)  # joints
BODY_RADIUS, HEAD_RADIUS, LEG_RADIUS = 0.24, 0.21, 0.095


@dataclass(frozen=True)
class ToyForm:
    """Metres. Neither the caption nor a control determines thickness, muzzle, ears and spots."""

    length: float
    radius: float
    neck: float
    head: float
    muzzle: float
    leg: float
    leg_radius: float
    tail: float
    floppy_ears: bool
    spots: bool


@dataclass(frozen=True)
class ToyPose:
    """Radians. legs: swing forwards and bend of the knee for each of LEGS. neck: over the horizontal. turn: of the head."""

    legs: tuple[tuple[float, float], ...]
    neck: float
    turn: float
    tail: float


@dataclass(frozen=True)
class Toy:
    JOINTS: ClassVar[Names] = (
        "head", "neck", "rump", "tail",
        *(f"{joint}_{leg}" for leg in ("fl", "fr", "bl", "br") for joint in ("shoulder", "knee", "foot")),
    )  # fmt: skip
    BONES: ClassVar[Pairs] = (
        (0, 1), (1, 2), (2, 3),
        (1, 4), (4, 5), (5, 6), (1, 7), (7, 8), (8, 9), (2, 10), (10, 11), (11, 12), (2, 13), (13, 14), (14, 15),
    )  # fmt: skip
    KEEPS_DIRECTION: ClassVar[Names] = ("head", *(f"foot_{leg}" for leg in ("fl", "fr", "bl", "br")))
    PARTS: ClassVar[Names] = ("coat", "ears", "collar")
    FOCUS: ClassVar[Point] = (0.0, 0.0, 0.56)
    DISTANCE: ClassVar[float] = 3.2

    form: ToyForm
    pose: ToyPose
    edited_pose: ToyPose
    heading: float

    def nouns(self) -> Names:
        return ("dog", "animal") if self.form.floppy_ears else ("cat", "animal")

    def joints(self, edited: bool = False) -> np.ndarray:
        points = toy_joints(self.form, self.edited_pose if edited else self.pose)
        lowest = toy_joints(self.form, self.pose)[list(FEET), 2].min()  # before the edit: the rest of the toy stays where it is
        points[:, 2] += 0.9 * self.form.leg_radius - lowest
        return points @ turn_about_z(self.heading).T

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        pose, turn = self.edited_pose if edited else self.pose, turn_about_z(self.heading)
        joints = self.joints(edited)
        return [*_body(self.form, joints, turn), *_legs(self.form, joints, turn), *_head(self.form, pose, joints, turn)]

    def bounds(self, edited: bool = False) -> Sequence[Capsule]:
        """A capsule round the body, one round neck and head, one round the tail, and one round each leg."""
        head, neck, rump, tail = (at := self.joints(edited))[:4]
        legs = [capsule_round(at[first : first + 3], LEG_RADIUS + 0.06 + MARGIN) for first in (4, 7, 10, 13)]
        body = capsule_round(np.stack([neck, rump]), BODY_RADIUS + MARGIN)
        crown = head + 0.05 * UP
        return [
            body, capsule_round(np.stack([neck, crown]), HEAD_RADIUS + 0.12 + MARGIN),
            capsule_round(np.stack([rump, tail]), 0.06 + MARGIN), *legs,
        ]  # fmt: skip


def toy_joints(form: ToyForm, pose: ToyPose) -> np.ndarray:
    """(16, 3) positions in the order of `Toy.JOINTS`, heading along +x, as high as the trunk."""
    x, y = form.length / 2, 0.62 * form.radius
    neck, rump = np.array([x, 0.0, 0.0]), np.array([-x, 0.0, 0.0])
    head = neck + form.neck * np.array([np.cos(pose.neck), 0.0, np.sin(pose.neck)])
    tail = rump + form.tail * np.array([-np.cos(pose.tail), 0.0, np.sin(pose.tail)])
    points = [head, neck, rump, tail]
    for (swing, bent), (front, side) in zip(pose.legs, ((1, 1), (1, -1), (-1, 1), (-1, -1)), strict=True):
        shoulder = np.array([front * (x - 0.02), side * y, -0.35 * form.radius])
        knee = shoulder + form.leg / 2 * _down(swing)
        points += [shoulder, knee, knee + form.leg / 2 * _down(swing - bent)]
    return np.stack(points)


def _down(swing: float) -> np.ndarray:
    return np.array([np.sin(swing), 0.0, -np.cos(swing)])


def _body(form: ToyForm, joints: np.ndarray, turn: np.ndarray) -> list[Solid]:
    """Trunk, neck, tail and collar, and spots that are balls sunk into the trunk."""
    head, neck, rump, tail = joints[:4]
    out = (head - neck) / np.linalg.norm(head - neck)
    ring = neck + 0.5 * (form.neck - form.head + form.radius) * out
    wide = 0.62 * form.radius + 0.035
    solids: list[Solid] = [
        Capsule(neck, rump, form.radius, "coat"),
        Capsule(neck, head, 0.62 * form.radius, "coat"),
        Capsule(rump + 0.5 * form.radius * UP, tail, 0.05, "coat"),
        Cone(ring - 0.03 * out, ring + 0.03 * out, wide, wide, "collar"),
    ]
    if form.spots:
        for along, side in ((0.3, 0.42), (-0.25, -0.42), (-0.2, 0.45), (0.25, -0.4)):
            spot = (neck + rump) / 2 + turn @ [along * form.length, side * form.radius, 0.43 * form.radius]
            solids.append(Capsule(spot, spot, 0.5 * form.radius, "spots"))
    return solids


def _legs(form: ToyForm, joints: np.ndarray, turn: np.ndarray) -> list[Solid]:
    solids: list[Solid] = []
    for first in (4, 7, 10, 13):
        shoulder, knee, foot = joints[first : first + 3]
        solids += [
            Capsule(shoulder, knee, form.leg_radius, "coat"),
            Capsule(knee, foot, 0.85 * form.leg_radius, "coat"),
            Capsule(foot, foot + turn @ [0.05, 0, 0], 0.95 * form.leg_radius, "paws"),
        ]
    return solids


def _head(form: ToyForm, pose: ToyPose, joints: np.ndarray, turn: np.ndarray) -> list[Solid]:
    """A ball with muzzle, nose, eyes and ears, looking along the heading turned by `pose.turn`."""
    axes = turn @ turn_about_z(pose.turn)
    at, size = joints[0], form.head

    def place(x: float, y: float, z: float) -> np.ndarray:
        return at + size * (axes @ [x, y, z])

    nose = place(0.72, 0, -0.22) + form.muzzle * axes[:, 0]
    solids: list[Solid] = [
        Capsule(at, at, size, "coat"),
        Capsule(place(0.5, 0, -0.25), place(0.5, 0, -0.25) + form.muzzle * axes[:, 0], 0.5 * size, "muzzle"),
        Capsule(nose + 0.2 * size * axes[:, 0], nose + 0.2 * size * axes[:, 0], 0.17 * size, "dark"),
    ]
    for side in (-1, 1):
        eye = place(0.82, 0.42 * side, 0.32)
        solids.append(Capsule(eye, eye, 0.15 * size, "dark"))
        if form.floppy_ears:
            solids.append(Capsule(place(-0.1, 0.88 * side, 0.45), place(-0.15, 1.12 * side, -0.45), 0.27 * size, "ears"))
        else:
            solids.append(Cone(place(-0.1, 0.5 * side, 0.68), place(-0.15, 0.72 * side, 1.5), 0.38 * size, 0.05 * size, "ears"))
    return solids


def draw_toy(rng: np.random.Generator) -> Toy:
    """A random toy, and the same with a foreleg or its head raised: the edit."""
    form = ToyForm(
        length=rng.uniform(0.55, 0.8),
        radius=rng.uniform(0.17, BODY_RADIUS),
        neck=rng.uniform(0.34, 0.46),
        head=rng.uniform(0.16, HEAD_RADIUS),
        muzzle=rng.uniform(0.03, 0.09),
        leg=rng.uniform(0.36, 0.56),
        leg_radius=rng.uniform(0.06, LEG_RADIUS),
        tail=rng.uniform(0.25, 0.42),
        floppy_ears=bool(rng.random() < 0.5),
        spots=bool(rng.random() < 0.4),
    )
    pose = ToyPose(
        legs=tuple((rng.uniform(-0.3, 0.35), rng.uniform(0.0, 0.35)) for _ in LEGS),
        neck=rng.uniform(0.1, 0.75),
        turn=rng.uniform(-0.7, 0.7),
        tail=rng.uniform(-0.3, 1.2),
    )
    return Toy(form, pose, raise_leg_or_head(pose, rng), rng.uniform(-np.pi, np.pi))


def raise_leg_or_head(pose: ToyPose, rng: np.random.Generator) -> ToyPose:
    """The pose with one foreleg lifted forwards, or with the head up."""
    if rng.random() < 0.6:
        legs = list(pose.legs)
        legs[int(rng.integers(2))] = (rng.uniform(1.2, 1.7), rng.uniform(0.1, 1.0))
        return replace(pose, legs=tuple(legs))
    return replace(pose, neck=pose.neck + rng.uniform(0.6, 0.9))
