"""The puppet world: random scenes of one figure, their training samples, and whole multi-view scenes with ground truth.

Everything about a scene follows from (split, seed): training draws from "train", shipped and evaluated scenes from
"heldout", so that no evaluated scene can ever have been trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnerf.scenes.controls import draw_control_image, end_joints, skeleton_colours
from qnerf.scenes.procedural.captions import COLOURS, SKINS, TEMPLATE, draw_colour, draw_skin
from qnerf.scenes.procedural.figure import (
    BONES,
    JOINTS,
    Body,
    Pose,
    Primitive,
    draw_body,
    draw_pose,
    figure_joints,
    figure_primitives,
    raise_arm,
)
from qnerf.scenes.procedural.raycast import ContactShadow, Paint, PinholeView, Surroundings, render

SPLITS = {"train": 1, "heldout": 2}
FOCUS = np.array([0.0, 0.0, 0.82])
RADIUS = 1.4
CONTROL_DETAILS = ("bones", "joints", "ends")


@dataclass(frozen=True)
class PuppetScene:
    """One figure before and after the edit (the edited arm raised), its looks and its surroundings."""

    body: Body
    pose: Pose
    edited_pose: Pose
    extras: tuple[str, ...]
    paints: dict[str, Paint]
    around: Surroundings
    caption: str

    def joints(self, edited: bool = False) -> np.ndarray:
        """(15, 3) world positions."""
        return figure_joints(self.body, self.edited_pose if edited else self.pose)

    def solids(self, edited: bool = False) -> list[Primitive]:
        return figure_primitives(self.body, self.joints(edited), self.pose.heading, self.extras)


@dataclass(frozen=True)
class TrainingSample:
    """image: (3, S, S) float32 in [0, 1]. caption: what it names. controls: one drawing (3, S, S) float32 a grade of looseness."""

    image: np.ndarray
    caption: str
    controls: dict[str, np.ndarray]


def draw_scene(seed: int, split: str) -> PuppetScene:
    """The scene of a seed. In training scenes either arm may be up; held-out ones start with the edited arm down."""
    rng = np.random.default_rng([SPLITS[split], seed])
    body = draw_body(rng)
    side = int(rng.integers(2))
    up = rng.random(2) < 0.35
    if split == "heldout":
        up[side] = False
    pose = draw_pose(rng, (bool(up[0]), bool(up[1])))
    edited = raise_arm(pose, side, rng)
    extras = tuple(name for name, share in (("hat", 0.35), ("hair", 0.55), ("bag", 0.35)) if rng.random() < share)
    names = {part: str(rng.choice(list(COLOURS))) for part in ("shirt", "trousers", "floor", "background")}
    skin = str(rng.choice(list(SKINS)))
    return PuppetScene(
        body, pose, edited, extras,
        paints=draw_paints(names, skin, rng),
        around=draw_surroundings(names["floor"], names["background"], rng),
        caption=TEMPLATE.format(skin=skin, **names),
    )  # fmt: skip


def draw_paints(names: dict[str, str], skin: str, rng: np.random.Generator) -> dict[str, Paint]:
    """A paint for each part: named ones from their names, the others free."""
    paints = {"skin": _plain(draw_skin(skin, rng)), "eye": _plain(np.full(3, 0.08, np.float32))}
    for part in ("shirt", "trousers"):
        base = draw_colour(names[part], rng)
        lighter, darker = 0.45 * base + 0.55, 0.45 * base
        striped = rng.random() < 0.4
        paints[part] = Paint(base, lighter if base.mean() < 0.5 else darker, rng.uniform(0.05, 0.1) if striped else 0.0)
    for part in ("hat", "bag", "shoes", "hair"):
        choices = ["black", "brown", "yellow", "grey", "red"] if part == "hair" else list(COLOURS)
        paints[part] = _plain(draw_colour(str(rng.choice(choices)), rng))
    return paints


def _plain(base: np.ndarray) -> Paint:
    return Paint(base, base, 0.0)


def draw_surroundings(floor: str, background: str, rng: np.random.Generator) -> Surroundings:
    base = draw_colour(floor, rng)
    second = 0.78 * base + 0.22 * (1.0 if base.mean() < 0.4 else 0.0)
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.6, 0.95)
    sideways = np.sqrt(1 - height**2)
    return Surroundings(
        floor=base,
        floor_second=second.astype(np.float32),
        pattern=str(rng.choice(["plain", "checker", "stripes", "dots", "rings"])),
        period=rng.uniform(0.4, 0.8),
        angle=rng.uniform(-np.pi, np.pi),
        background=draw_colour(background, rng),
        gradient=rng.uniform(-0.25, 0.25),
        light=np.array([sideways * np.cos(azimuth), sideways * np.sin(azimuth), height], dtype=np.float32),
        ambient=rng.uniform(0.45, 0.65),
    )


def look_at(position: np.ndarray, focus: np.ndarray) -> np.ndarray:
    """camera_to_world (4, 4), OpenGL axes, z up in the picture."""
    backward = (position - focus) / np.linalg.norm(position - focus)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(backward, right), backward, position
    return pose


def orbit_camera(azimuth: float, elevation: float, distance: float, size: int, focal: float = 1.6) -> PinholeView:
    """A camera on a circle round FOCUS; angles in radians, focal length as a multiple of the image's size."""
    offset = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return PinholeView(look_at(FOCUS + distance * offset, FOCUS), focal * size, size)


def render_sample(seed: int, size: int = 128) -> TrainingSample:
    """One training sample: a random scene from a random camera. Follows from the seed alone."""
    scene = draw_scene(seed, "train")
    rng = np.random.default_rng([SPLITS["train"], seed, 1])
    view = orbit_camera(
        rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(4, 35)), rng.uniform(3.1, 3.8), size, rng.uniform(1.52, 1.68)
    )
    solids = scene.solids()
    image = render(view, solids, scene.paints, scene.around, ContactShadow(solids, scene.around.light))
    pixels, z_depth = view.project(scene.joints())
    colours, ends = skeleton_colours(len(JOINTS), len(BONES)), end_joints(JOINTS)
    controls = {
        detail: draw_control_image(pixels, z_depth, BONES, colours, detail, (size, size), ends) for detail in CONTROL_DETAILS
    }
    return TrainingSample(image, scene.caption, controls)
