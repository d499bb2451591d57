"""A seat, from a chair to a sofa: its width, its back and its arms are shape parameters, which the edit changes.

Before its heading turns it, a seat faces +y; its left is at negative x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from qnerf.scenes.procedural.shape import BOUND, MARGIN, UP, Names, Pairs, Point, turn_about_z
from qnerf.scenes.solids import Box, Cone, Solid

SOFA = 1.05  # metres: a wider seat is a sofa, a narrower one a chair
LEAN = 0.14  # of the back, radians
BACK_THICKNESS = 0.16


@dataclass(frozen=True)
class SeatForm:
    """Metres. width: over all. back, arms: heights over the seat; arms 0: none. The rest no caption and no control determines."""

    width: float
    depth: float
    height: float
    back: float
    arms: float
    arm_width: float
    legs: float
    rounding: float
    cushions: int
    pillow: float

    @property
    def inner(self) -> float:
        """Width between the arms."""
        return self.width - (2 * self.arm_width if self.arms else 0.0)


@dataclass(frozen=True)
class Seat:
    JOINTS: ClassVar[Names] = (
        "foot_fl", "foot_fr", "foot_bl", "foot_br", "seat_fl", "seat_fr", "seat_bl", "seat_br",
        "arm_l", "arm_r", "top_l", "top_r",
    )  # fmt: skip
    BONES: ClassVar[Pairs] = (
        (0, 4), (1, 5), (2, 6), (3, 7), (4, 5), (5, 7), (7, 6), (6, 4), (4, 8), (5, 9), (6, 10), (7, 11), (10, 11),
    )  # fmt: skip
    KEEPS_DIRECTION: ClassVar[Names] = ()
    PARTS: ClassVar[Names] = ("cover", "cushions", "legs")
    FOCUS: ClassVar[Point] = (0.0, 0.0, 0.58)
    DISTANCE: ClassVar[float] = 3.4

    form: SeatForm
    edited_form: SeatForm
    heading: float

    def nouns(self) -> Names:
        if self.form.width > SOFA:
            return ("sofa", "couch")
        return ("armchair",) if self.form.arms else ("chair",)

    def joints(self, edited: bool = False) -> np.ndarray:
        form = self.edited_form if edited else self.form
        x, y, z = form.width / 2, form.depth / 2, form.height
        across, feet = np.array([x, 0, 0]), (x - 0.07) / x
        front, rear, rise = np.array([0, y, z]), np.array([0, -y, z]), np.array([0, 0, form.arms])
        top = rear + form.back * np.array([0, -np.sin(LEAN), np.cos(LEAN)])
        corners = np.stack([front - across, front + across, rear - across, rear + across])
        rest = [front + rise - across, front + rise + across, top - across, top + across]
        return np.concatenate([corners * [feet, 0.88, 0.0], corners, rest]) @ turn_about_z(self.heading).T

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        form, turn = self.edited_form if edited else self.form, turn_about_z(self.heading)
        return [*_frame(form, turn), *_cushions(form, turn), *_legs(form, turn)]

    def bounds(self, edited: bool = False) -> Sequence[Box]:
        """A box round seat and arms, and one round the back, each turned with the seat."""
        form, turn = self.edited_form if edited else self.form, turn_about_z(self.heading)
        x, y, margin = form.width / 2 + MARGIN, form.depth / 2, 2 * MARGIN
        low = form.height + max(form.arms, 0.1) + margin
        high = form.height + form.back + margin
        lean = form.back * np.sin(LEAN)
        body = Box(turn @ [0, 0.02, low / 2], np.array([x, y + MARGIN, low / 2]), turn, 0.03, BOUND)
        half = np.array([x, (BACK_THICKNESS + lean) / 2 + margin, high / 2])
        return [body, Box(turn @ [0, -y + BACK_THICKNESS / 2 - lean / 2, high / 2], half, turn, 0.03, BOUND)]


def _frame(form: SeatForm, turn: np.ndarray) -> list[Solid]:
    """The body under the cushions, the back, and the arms."""
    y, thickness = form.depth / 2, 0.62 * (form.height - form.legs)
    body = _box([0, 0, form.legs + thickness / 2], [form.width, form.depth, thickness], turn, form.rounding, "cover")
    lean = _tilt(LEAN)
    tall = form.back + form.height - form.legs - 0.05
    middle = np.array([0, -y + BACK_THICKNESS / 2, form.height]) + lean @ [0, 0, form.back - tall / 2]
    back = Box(turn @ middle, np.array([form.width, BACK_THICKNESS, tall]) / 2, turn @ lean, form.rounding, "cover")
    arms = [_arm(form, side, turn) for side in (-1, 1)] if form.arms else []
    return [body, back, *arms]


def _arm(form: SeatForm, side: int, turn: np.ndarray) -> Box:
    tall = form.height + form.arms - form.legs
    centre = [side * (form.width - form.arm_width) / 2, 0.01, form.legs + tall / 2]
    return _box(centre, [form.arm_width, form.depth + 0.02, tall], turn, min(form.rounding, 0.45 * form.arm_width), "cover")


def _cushions(form: SeatForm, turn: np.ndarray) -> list[Solid]:
    """Cushions side by side on the seat and against the back, and perhaps a pillow."""
    wide, front = form.inner / form.cushions, form.depth - BACK_THICKNESS
    thick, tall, lean = 0.38 * (form.height - form.legs), 0.8 * form.back, _tilt(LEAN)
    parts: list[Solid] = []
    for index in range(form.cushions):
        x = (index + 0.5) * wide - form.inner / 2
        low = [x, BACK_THICKNESS / 2 + 0.02, form.height - thick / 2]
        parts.append(_box(low, [wide - 0.012, front, thick], turn, 0.42 * thick, "cushions"))
        at = np.array([x, -form.depth / 2 + BACK_THICKNESS, form.height]) + lean @ [0, 0.03, tall / 2]
        parts.append(Box(turn @ at, np.array([wide - 0.012, 0.13, tall]) / 2, turn @ lean, 0.055, "cushions"))
    if form.pillow:
        x = np.sign(form.pillow) * (form.inner / 2 - 0.2)
        at = turn @ [x, -form.depth / 2 + BACK_THICKNESS + 0.16, form.height + 0.15]
        parts.append(Box(at, np.array([0.17, 0.06, 0.15]), turn @ _tilt(0.35), 0.055, "pillow"))
    return parts


def _legs(form: SeatForm, turn: np.ndarray) -> list[Solid]:
    x, y = form.width / 2 - 0.09, form.depth / 2 - 0.09
    spots = [turn @ [a * x, b * y, 0.0] for b in (1, -1) for a in (-1, 1)]
    return [Cone(1.03 * spot, spot + (form.legs + 0.03) * UP, 0.028, 0.045, "legs") for spot in spots]


def _box(centre: Sequence[float], size: Sequence[float], turn: np.ndarray, rounding: float, part: str) -> Box:
    return Box(turn @ np.array(centre), np.array(size) / 2, turn, rounding, part)


def _tilt(angle: float) -> np.ndarray:
    """Leans what stands upright backwards, towards -y."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])


def draw_seat(rng: np.random.Generator) -> Seat:
    """A random seat, and the same made wider (a sofa, mostly) or with a higher back (a chair always): the edit."""
    sofa = bool(rng.random() < 0.5)
    form = SeatForm(
        width=rng.uniform(1.15, 1.36) if sofa else rng.uniform(0.62, 0.88),
        depth=rng.uniform(0.62, 0.78),
        height=rng.uniform(0.42, 0.54),
        back=rng.uniform(0.38, 0.58),
        arms=rng.uniform(0.16, 0.3) if rng.random() < (0.85 if sofa else 0.5) else 0.0,
        arm_width=rng.uniform(0.1, 0.18),
        legs=rng.uniform(0.1, 0.2),
        rounding=rng.uniform(0.03, 0.06),
        cushions=int(rng.integers(2, 4)) if sofa else 1,
        pillow=float(rng.choice([-1.0, 0.0, 1.0], p=[0.25, 0.5, 0.25])),
    )
    if sofa and rng.random() < 0.7:
        edited = replace(form, width=form.width * rng.uniform(1.22, 1.3))
    else:
        edited = replace(form, back=form.back * rng.uniform(1.4, 1.65))
    return Seat(form, edited, rng.uniform(-np.pi, np.pi))
