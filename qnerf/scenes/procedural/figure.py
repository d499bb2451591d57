"""An articulated figure: proportions and pose become joints, joints become capsules and spheres.

World units are metres; z is up, the figure stands at the origin and, before its heading turns it, looks along +y;
its left side is at negative x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qnerf.scenes.solids import Capsule

JOINTS = (
    "head", "neck", "pelvis",
    "shoulder_l", "elbow_l", "hand_l", "shoulder_r", "elbow_r", "hand_r",
    "hip_l", "knee_l", "foot_l", "hip_r", "knee_r", "foot_r",
)  # fmt: skip
BONES = (
    (0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (1, 6), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14),
)  # fmt: skip
J = {name: index for index, name in enumerate(JOINTS)}


@dataclass(frozen=True)
class Body:
    """Lengths and thicknesses, metres. Neither the caption nor a loose control determines them."""

    torso: float
    shoulder_width: float
    hip_width: float
    upper_arm: float
    forearm: float
    thigh: float
    shin: float
    head: float
    arm_radius: float
    leg_radius: float
    torso_radius: float


@dataclass(frozen=True)
class Limb:
    """Angles of one arm or leg, radians. raise_: 0 hangs down, pi points up (sideways); swing: forwards; bend and
    bend_axis: of the elbow or knee, the axis turning about the upper limb."""

    raise_: float
    swing: float
    bend: float
    bend_axis: float


@dataclass(frozen=True)
class Pose:
    """Four limbs in the order left arm, right arm, left leg, right leg; lean of the trunk (radians), heading about z."""

    limbs: tuple[Limb, Limb, Limb, Limb]
    lean: float
    heading: float


def draw_body(rng: np.random.Generator) -> Body:
    size = rng.uniform(0.95, 1.12)
    return Body(
        torso=size * rng.uniform(0.38, 0.5),
        shoulder_width=size * rng.uniform(0.3, 0.42),
        hip_width=size * rng.uniform(0.18, 0.26),
        upper_arm=size * rng.uniform(0.24, 0.31),
        forearm=size * rng.uniform(0.22, 0.29),
        thigh=size * rng.uniform(0.28, 0.36),
        shin=size * rng.uniform(0.26, 0.34),
        head=size * rng.uniform(0.12, 0.165),
        arm_radius=rng.uniform(0.055, 0.09),
        leg_radius=rng.uniform(0.07, 0.105),
        torso_radius=rng.uniform(0.12, 0.17),
    )


def draw_arm(rng: np.random.Generator, raised: bool) -> Limb:
    raise_ = rng.uniform(1.9, 2.9) if raised else rng.uniform(0.12, 1.3)
    return Limb(raise_, rng.uniform(-0.5, 0.7), rng.uniform(0.0, 1.7), rng.uniform(-np.pi, np.pi))


def draw_leg(rng: np.random.Generator) -> Limb:
    # A knee bends backwards: its axis stays near the figure's own x axis.
    return Limb(rng.uniform(0.0, 0.4), rng.uniform(-0.45, 0.6), rng.uniform(0.0, 0.9), rng.uniform(-0.4, 0.4))


def draw_pose(rng: np.random.Generator, raised: tuple[bool, bool]) -> Pose:
    """A random pose; `raised` says for the left and the right arm whether it points up."""
    limbs = (draw_arm(rng, raised[0]), draw_arm(rng, raised[1]), draw_leg(rng), draw_leg(rng))
    return Pose(limbs, rng.uniform(-0.15, 0.2), rng.uniform(-np.pi, np.pi))


def raise_arm(pose: Pose, side: int, rng: np.random.Generator) -> Pose:
    """The pose with one arm (0 left, 1 right) raised: the demo's edit."""
    limbs = list(pose.limbs)
    limbs[side] = draw_arm(rng, raised=True)
    return replace(pose, limbs=(limbs[0], limbs[1], limbs[2], limbs[3]))


def rotate(vector: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rodrigues' rotation of a (3,) vector about a unit axis."""
    cos, sin = np.cos(angle), np.sin(angle)
    (a, b, c), (x, y, z) = axis, vector
    across = np.array([b * z - c * y, c * x - a * z, a * y - b * x])  # np.cross takes ten times as long on one vector
    return vector * cos + across * sin + axis * (axis @ vector) * (1 - cos)


X, Z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


def limb_points(root: np.ndarray, limb: Limb, side: float, upper: float, lower: float, leg: bool) -> tuple[np.ndarray, np.ndarray]:
    """Middle joint and end joint of a limb that hangs from root. side: -1 left, +1 right."""
    direction = np.array([side * np.sin(limb.raise_), 0.0, -np.cos(limb.raise_)])
    direction = rotate(direction, X, limb.swing)
    # Any axis across the upper limb will do as the zero of bend_axis; x does unless the limb points along it.
    across = X - direction * direction[0] if leg or abs(direction[0]) < 0.9 else Z - direction * direction[2]
    axis = rotate(across / np.linalg.norm(across), direction, limb.bend_axis)
    middle = root + upper * direction
    return middle, middle + lower * rotate(direction, axis, -limb.bend if leg else limb.bend)


def figure_joints(body: Body, pose: Pose) -> np.ndarray:
    """(15, 3) world positions in the order of JOINTS; the lower foot stands on the floor."""
    points = np.zeros((len(JOINTS), 3))
    up = rotate(Z, X, -pose.lean)
    points[J["neck"]] = body.torso * up
    points[J["head"]] = points[J["neck"]] + (body.head + 0.05) * up
    for side, tag, arm, leg in ((-1.0, "l", 0, 2), (1.0, "r", 1, 3)):
        shoulder = 0.93 * body.torso * up + side * body.shoulder_width / 2 * X
        hip = side * body.hip_width / 2 * X - 0.03 * Z
        points[J[f"shoulder_{tag}"]], points[J[f"hip_{tag}"]] = shoulder, hip
        points[J[f"elbow_{tag}"]], points[J[f"hand_{tag}"]] = limb_points(
            shoulder, pose.limbs[arm], side, body.upper_arm, body.forearm, leg=False
        )
        points[J[f"knee_{tag}"]], points[J[f"foot_{tag}"]] = limb_points(
            hip, pose.limbs[leg], side, body.thigh, body.shin, leg=True
        )
    points[:, 2] -= min(points[J["foot_l"], 2], points[J["foot_r"], 2]) - 0.9 * body.leg_radius
    cos, sin = np.cos(pose.heading), np.sin(pose.heading)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])


def figure_primitives(body: Body, joints: np.ndarray, heading: float, extras: tuple[str, ...]) -> list[Capsule]:
    """The solids of a figure. extras: any of "hat", "hair", "bag"."""
    forward = np.array([-np.sin(heading), np.cos(heading), 0.0])
    side = np.array([np.cos(heading), np.sin(heading), 0.0])
    at = {name: joints[index] for name, index in J.items()}
    up = (at["neck"] - at["pelvis"]) / np.linalg.norm(at["neck"] - at["pelvis"])
    solids = [
        Capsule(at["pelvis"] + 0.3 * body.torso * up, at["neck"] - 0.6 * body.torso_radius * up, body.torso_radius, "shirt"),
        Capsule(at["shoulder_l"], at["shoulder_r"], 1.15 * body.arm_radius, "shirt"),
        Capsule(at["hip_l"], at["hip_r"], 1.1 * body.leg_radius, "trousers"),
        Capsule(at["pelvis"], at["pelvis"] + 0.2 * body.torso * up, 0.95 * body.torso_radius, "trousers"),
        Capsule(at["neck"] - 0.05 * up, at["head"], 0.05, "skin"),
        Capsule(at["head"], at["head"], body.head, "skin"),
    ]
    for eye in (-0.4, 0.4):
        centre = at["head"] + body.head * (0.86 * forward + eye * side + 0.12 * up)
        solids.append(Capsule(centre, centre, 0.03, "eye"))
    for tag in "lr":
        shoulder, elbow, hand = at[f"shoulder_{tag}"], at[f"elbow_{tag}"], at[f"hand_{tag}"]
        hip, knee, foot = at[f"hip_{tag}"], at[f"knee_{tag}"], at[f"foot_{tag}"]
        solids += [
            Capsule(shoulder, elbow, body.arm_radius, "shirt"),
            Capsule(elbow, elbow + 0.75 * (hand - elbow), 0.9 * body.arm_radius, "shirt"),
            Capsule(hand, hand, 1.15 * body.arm_radius, "skin"),
            Capsule(hip, knee, body.leg_radius, "trousers"),
            Capsule(knee, foot, 0.85 * body.leg_radius, "trousers"),
            Capsule(foot, foot + 0.11 * forward, 0.85 * body.leg_radius, "shoes"),
        ]
    if "hair" in extras:
        centre = at["head"] + body.head * (0.25 * up - 0.3 * forward)
        solids.append(Capsule(centre, centre - 0.4 * body.head * up, 0.93 * body.head, "hair"))
    if "hat" in extras:
        centre = at["head"] + 0.5 * body.head * up
        solids.append(Capsule(centre, centre, 0.85 * body.head, "hat"))
        solids.append(Capsule(centre + 0.9 * body.head * up, centre + 0.9 * body.head * up, 0.3 * body.head, "hat"))
    if "bag" in extras:
        back = at["pelvis"] - (body.torso_radius + 0.06) * forward
        solids.append(Capsule(back + 0.4 * body.torso * up, back + 0.75 * body.torso * up, 0.12, "bag"))
    return solids
