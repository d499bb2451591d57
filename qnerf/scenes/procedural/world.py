"""The world: a random scene of one object, its edit and its surroundings follow from (world, kind,
split, seed).

World 1 has the figure alone, with one caption and a plain background; the figures of the first
embedded weights. World 2 has all of `KINDS`. Whatever the world, no scene of the "heldout" split
can be trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from qnerf.errors import UserError
from qnerf.scenes.procedural.captions import COLOURS, SKINS, TEMPLATE
from qnerf.scenes.procedural.lamp import draw_lamp
from qnerf.scenes.procedural.looks import draw_names, draw_object_paints, draw_paints, draw_surroundings, with_texture
from qnerf.scenes.procedural.phrases import describe
from qnerf.scenes.procedural.puppet import draw_puppet
from qnerf.scenes.procedural.seat import draw_seat
from qnerf.scenes.procedural.shading import Paint
from qnerf.scenes.procedural.shape import Shape, box_round
from qnerf.scenes.procedural.surroundings import Surroundings
from qnerf.scenes.procedural.toy import draw_toy
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Solid

SPLITS = {"train": 1, "heldout": 2}
KINDS = ("figure", "lamp", "seat", "toy")
WORLDS: dict[int, tuple[str, ...]] = {1: ("figure",), 2: KINDS}
RADIUS = 1.4  # of the region of interest round `Shape.FOCUS`, metres
_DRAW: dict[str, Callable[[np.random.Generator], Shape]] = {"lamp": draw_lamp, "seat": draw_seat, "toy": draw_toy}


@dataclass(frozen=True)
class WorldScene:
    """One object before and after its edit, its looks and its surroundings. names: the colours that
    the caption tells, by part.

    The rest is of `other_edits` alone. bystanders: solids that the edit leaves as they are, each
    part with a paint of its own. edited_paints, edited_caption: those after the edit, where it
    changes them. distance: of the cameras, metres, where it is not the shape's.
    """

    world: int
    kind: str
    shape: Shape
    paints: dict[str, Paint]
    around: Surroundings
    caption: str
    names: dict[str, str]
    bystanders: tuple[Solid, ...] = ()
    edited_paints: dict[str, Paint] | None = None
    edited_caption: str | None = None
    distance: float | None = None

    def joints(self, edited: bool = False) -> np.ndarray:
        """(J, 3) world positions of `Shape.JOINTS`."""
        return self.shape.joints(edited)

    def solids(self, edited: bool = False) -> Sequence[Solid]:
        """The object's, then the bystanders'."""
        return [*self.shape.solids(edited), *self.bystanders]

    def proxy(self) -> Proxy:
        """What controls are drawn from. World 1 says nothing of bounds, so that its folders stay
        what they were."""
        source, target = (torch.tensor(self.joints(edited), dtype=torch.float32) for edited in (False, True))
        bounds = self._bounds(False), self._bounds(True)
        keeps = tuple(self.shape.JOINTS.index(joint) for joint in self.shape.KEEPS_DIRECTION)
        return Proxy("skeleton", self.shape.JOINTS, self.shape.BONES, source, target, *bounds, keeps)

    def _bounds(self, edited: bool) -> Bounds | None:
        if self.world == 1:
            return None
        solids = self.shape.bounds(edited)
        return Bounds(tuple(solids), torch.tensor(box_round(solids, self.shape.heading), dtype=torch.float32))


def draw_scene(seed: int, split: str, kind: str = "figure", world: int = 1) -> WorldScene:
    """The scene of a seed. In training scenes a figure's arms may both be up; held-out ones start
    with the edited arm down.

    Raises UserError for a world that does not exist or has no such kind.
    """
    check_kind(kind, world)
    if world == 1:
        return _draw_first_world(np.random.default_rng([SPLITS[split], seed]), split)
    rng = np.random.default_rng([10 * world + SPLITS[split], KINDS.index(kind), seed])
    shape = draw_puppet(rng, split == "heldout") if kind == "figure" else _DRAW[kind](rng)
    names = draw_names(kind, shape.PARTS, rng)
    if kind == "figure":
        paints = draw_paints(names, names["skin"], rng)
    else:
        paints = draw_object_paints(kind, {part: names[part] for part in shape.PARTS}, rng)
    around = with_texture(draw_surroundings(names["floor"], names["background"], rng), rng)
    texture = around.texture and around.texture.pattern
    return WorldScene(world, kind, shape, paints, around, *describe(kind, shape.nouns(), names, texture, rng))


def check_kind(kind: str, world: int) -> None:
    """Raise UserError unless the world exists and has objects of the kind."""
    if world not in WORLDS:
        raise UserError(f"world is {world!r}, expected one of {', '.join(map(str, WORLDS))}: choose one of them.")
    if kind not in WORLDS[world]:
        known = ", ".join(WORLDS[world])
        raise UserError(f"kind is {kind!r}, but world {world} has {known} only: choose one of them, or world {max(WORLDS)}.")


def _draw_first_world(rng: np.random.Generator, split: str) -> WorldScene:
    shape = draw_puppet(rng, split == "heldout")
    names = {part: str(rng.choice(list(COLOURS))) for part in ("shirt", "trousers", "floor", "background")}
    skin = str(rng.choice(list(SKINS)))
    paints = draw_paints(names, skin, rng)
    around = draw_surroundings(names["floor"], names["background"], rng)
    return WorldScene(1, "figure", shape, paints, around, TEMPLATE.format(skin=skin, **names), {"skin": skin, **names})
