"""Cameras round the world's objects, and single posed pictures of them with their controls, as training takes them.

Samples of seeds in `HELDOUT` are for measuring: training refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.bounds import BOX_EDGES, ball_round, proxy_bounds
from qnerf.scenes.controls import DETAILS, box_colours, draw_control_image, end_joints, skeleton_colours
from qnerf.scenes.loose_depth import loose_depth_image
from qnerf.scenes.procedural.puppet import Puppet
from qnerf.scenes.procedural.raycast import PinholeView, render
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.world import SPLITS, WorldScene, draw_scene

SEED_STRIDE = 1_000_000_000  # samples of a training seed: seed * SEED_STRIDE + index, so that those of two seeds never meet
HELDOUT_SEEDS = range(900, 1000)  # no training has one of these seeds
HELDOUT = range(HELDOUT_SEEDS.start * SEED_STRIDE, HELDOUT_SEEDS.stop * SEED_STRIDE)
FIRST_WORLD_DETAILS = ("bones", "joints", "ends")
FOCUS = np.array(Puppet.FOCUS)


@dataclass(frozen=True)
class Sample:
    """image: (3, S, S) float32 in [0, 1]. controls: one drawing (3, S, S) float32 a grade of looseness. names: as in WorldScene."""

    image: np.ndarray
    caption: str
    controls: dict[str, np.ndarray]
    kind: str
    names: dict[str, str]


def look_at(position: np.ndarray, focus: np.ndarray) -> np.ndarray:
    """camera_to_world (4, 4), OpenGL axes, z up in the picture."""
    backward = (position - focus) / np.linalg.norm(position - focus)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(backward, right), backward, position
    return pose


def orbit_camera(
    azimuth: float, elevation: float, distance: float, size: int, focal: float = 1.6, focus: np.ndarray = FOCUS
) -> PinholeView:
    """A camera on a circle round the focus; angles in radians, focal length as a multiple of the image's size."""
    offset = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return PinholeView(look_at(focus + distance * offset, focus), focal * size, size)


def draw_sample(seed: int, size: int = 128, kind: str = "figure", world: int = 1) -> tuple[WorldScene, PinholeView]:
    """A random scene, source state, and a random camera: what `render_sample` renders."""
    scene = draw_scene(seed, "train", kind, world)
    rng = np.random.default_rng([SPLITS["train"], seed, 1])
    nearer, lowest = scene.shape.DISTANCE / Puppet.DISTANCE, 4 if world == 1 else 1
    view = orbit_camera(
        rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(lowest, 35)), nearer * rng.uniform(3.1, 3.8), size,
        rng.uniform(1.52, 1.68), np.array(scene.shape.FOCUS),
    )  # fmt: skip
    return scene, view


def render_sample(
    seed: int,
    size: int = 128,
    kind: str = "figure",
    world: int = 1,
    details: Sequence[str] = FIRST_WORLD_DETAILS,
    heldout: bool = False,
) -> Sample:
    """One sample: a random scene from a random camera, with controls of these grades. Follows from the arguments alone.

    heldout: whether the sample is for measuring rather than for training. Raises UserError as `check_side` does.
    """
    check_side(seed, heldout)
    scene, view = draw_sample(seed, size, kind, world)
    solids = scene.solids()
    image = render(view, solids, scene.paints, scene.around, ContactShadow(solids, scene.around.light))
    return Sample(image, scene.caption, draw_details(scene, view, details), scene.kind, scene.names)


def check_side(seed: int, heldout: bool) -> None:
    """Raise UserError where a sample's seed is on the other side of `HELDOUT`, so that what is measured was never trained on."""
    if (seed in HELDOUT) != heldout:
        found, use = ("held out", "training") if seed in HELDOUT else ("for training", "measuring")
        raise UserError(
            f"Sample {seed} is {found} and cannot be used for {use}: held-out samples have the seeds from {HELDOUT.start} "
            f"to {HELDOUT.stop - 1}, choose another."
        )


def draw_details(scene: WorldScene, view: PinholeView, details: Sequence[str]) -> dict[str, np.ndarray]:
    """The controls (3, S, S) of the object before its edit: `draw_proxy_control`'s for one view. details: their grades."""
    unknown = [detail for detail in details if detail not in DETAILS]
    if unknown:
        raise UserError(f"The grade of control is {unknown[0]!r}, expected one of {', '.join(DETAILS)}: choose one of them.")
    proxy = scene.proxy()
    pixels, z_depth = view.project(scene.joints())
    colours, ends = skeleton_colours(len(proxy.joints), len(proxy.bones)), end_joints(proxy.joints)

    def draw(detail: str) -> np.ndarray:
        size = (view.size, view.size)
        if detail == "box":
            corners = proxy_bounds(proxy, "source").corners.double().numpy()
            return draw_control_image(*view.project(corners), BOX_EDGES, box_colours(), detail, size)
        if detail == "loose_depth":
            source, target = proxy_bounds(proxy, "source").solids, proxy_bounds(proxy, "target").solids
            directions = view.directions(view.size).reshape(*size, 3)
            return loose_depth_image(view.camera_to_world[:3, 3], directions, source, ball_round([*source, *target]))
        return draw_control_image(pixels, z_depth, proxy.bones, colours, detail, size, ends)

    return {detail: draw(detail) for detail in details}
