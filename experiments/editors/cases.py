"""Single-image edits of the embedded model's world whose true result is known: another colour of a part, another kind of object.

An edit has a source and a target prompt, and the true edited image is rendered from the edited scene: same camera, same light, all
else as it was. Scenes are of the held-out split, which no training has seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.classifiers.labels import NAMES, PARTS, part_map
from qnerf.scenes.procedural.captions import COLOURS, draw_colour
from qnerf.scenes.procedural.phrases import with_articles
from qnerf.scenes.procedural.raycast import PinholeView, render
from qnerf.scenes.procedural.samples import orbit_camera
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.world import KINDS, WorldScene, draw_scene

Change = Literal["colour", "kind"]
CHANGES: tuple[Change, ...] = ("colour", "kind")
FIRST_SEED, WORLD = 40_000, 2
SEEN = 0.03  # share of the image that a part must cover, so that its colour can be seen
DIFFERS, ROUND = 0.02, 3  # a pixel differs by more than this; the region of the edit is this much wider


@dataclass(frozen=True)
class Case:
    """One edit. image, truth: (3, S, S) in [0, 1]. region: (S, S) bool, where the truth differs, and a little round it. part, name:
    indices of `PARTS` and `NAMES`, of a change of colour. kind: index of `KINDS` after the edit."""

    number: int
    change: Change
    source: str
    target: str
    image: Tensor
    truth: Tensor
    region: Tensor
    kind: int
    part: int | None = None
    name: int | None = None


def make_case(number: int, size: int) -> Case:
    """Edit `number`, whatever others there are: changes and kinds of objects take turns."""
    change, kind = CHANGES[number % 2], KINDS[number // 2 % len(KINDS)]
    seed = FIRST_SEED + 100 * number
    while True:  # until the scene has what the change needs
        found = _recoloured(number, seed, kind, size) if change == "colour" else _other_kind(number, seed, kind, size)
        if found is not None:
            return found
        seed += 1


def _recoloured(number: int, seed: int, kind: str, size: int) -> Case | None:
    """A part that is well seen and whose colour the caption says once has another colour; the words are the same but one."""
    scene, rng = draw_scene(seed, "heldout", kind, WORLD), np.random.default_rng([number, 1])
    view, words = _camera(scene, rng, size), scene.caption.split()
    seen = part_map(scene, view)
    parts = [
        part
        for part, name in scene.names.items()
        if name in COLOURS and words.count(name) == 1 and part in scene.paints and (seen == PARTS.index(part)).mean() > SEEN
    ]
    if not parts:
        return None
    part = str(rng.choice(parts))
    name = str(rng.choice([each for each in COLOURS if each not in scene.names.values()]))
    caption = with_articles(" ".join(name if word == scene.names[part] else "a" if word == "an" else word for word in words))
    base, paint = draw_colour(name, rng), scene.paints[part]
    second = base if paint.stripes == 0 else (0.45 * base + 0.55 if base.mean() < 0.5 else 0.45 * base).astype(np.float32)
    edited = replace(scene, paints={**scene.paints, part: replace(paint, base=base, second=second)}, caption=caption)
    return _case(number, "colour", scene, edited, view, PARTS.index(part), NAMES.index(name))


def _other_kind(number: int, seed: int, kind: str, size: int) -> Case | None:
    """An object of the next kind stands in the same place; the captions say nothing of the surroundings."""
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    scene, edited = (draw_scene(seed, "heldout", each, WORLD) for each in (kind, other))
    if any({"floor", "background"} & set(each.names) for each in (scene, edited)):
        return None
    view = _camera(scene, np.random.default_rng([number, 1]), size)
    return _case(number, "kind", scene, replace(edited, around=scene.around), view)


def _camera(scene: WorldScene, rng: np.random.Generator, size: int) -> PinholeView:
    turn, height, away = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(5, 30)), rng.uniform(1.0, 1.1)
    return orbit_camera(turn, height, away * scene.shape.DISTANCE, size, focus=np.array(scene.shape.FOCUS))


def _case(
    number: int, change: Change, scene: WorldScene, edited: WorldScene, view: PinholeView, part: int | None = None,
    name: int | None = None,
) -> Case:  # fmt: skip
    image, truth = (torch.from_numpy(_picture(each, view)).float() for each in (scene, edited))
    differs = ((image - truth).abs().amax(dim=0) > DIFFERS).float()[None, None]
    region = F.max_pool2d(differs, 2 * ROUND + 1, stride=1, padding=ROUND)[0, 0] > 0
    return Case(number, change, scene.caption, edited.caption, image, truth, region, KINDS.index(edited.kind), part, name)


def _picture(scene: WorldScene, view: PinholeView) -> np.ndarray:
    solids = scene.solids()
    return render(view, solids, scene.paints, scene.around, ContactShadow(solids, scene.around.light))
