"""Figures with an edit of another kind than a raised arm (the paper's second open question), held
out like those of the world.

`recoloured`: the shirt has another colour, in one piece, and the caption another word; nothing
moves. `sitting`: the figure sits down on the floor. `occluded`: an arm is raised, and a post stands
before it in some views. `pair`: of two figures, one raises an arm. Captions are those of the figure
that is edited. A scene follows from its name and seed, by random numbers of its own: no scene of
the world changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.on_demand import OTHER_EDITS
from qnerf.scenes.procedural.captions import COLOURS, draw_colour
from qnerf.scenes.procedural.figure import J, Limb, Pose, figure_joints, figure_primitives
from qnerf.scenes.procedural.looks import draw_names, draw_paints
from qnerf.scenes.procedural.phrases import with_articles
from qnerf.scenes.procedural.puppet import Puppet, draw_puppet
from qnerf.scenes.procedural.shading import Paint, plain
from qnerf.scenes.procedural.world import WorldScene, draw_scene
from qnerf.scenes.solids import Capsule

_SPLIT = 3  # first number of these scenes' random streams: those of the world are 1, 2, 21 and 22
POST_AWAY, POST_RADIUS, POST_HEIGHT = 0.75, 0.11, 1.25  # metres
BESIDE, BOTH_SEEN = 0.85, 4.4  # metres: from one figure to the other, and from there to the cameras


def draw_other_edit(kind: str, seed: int) -> WorldScene:
    """The scene of a kind of `OTHER_EDITS` and a seed. Raises UserError for another kind."""
    if kind not in OTHER_EDITS:
        raise UserError(f"The edit is {kind!r}, expected one of {', '.join(OTHER_EDITS)}: choose one of them.")
    rng = np.random.default_rng([_SPLIT, OTHER_EDITS.index(kind), seed])
    drawn = draw_scene(int(rng.integers(10_000, 1_000_000)), "heldout", "figure", 2)
    return _DRAW[kind](drawn, cast(Puppet, drawn.shape), rng)


def _recoloured(drawn: WorldScene, puppet: Puppet, rng: np.random.Generator) -> WorldScene:
    """Another colour than any that the caption tells, in the place of the shirt's."""
    colour = str(rng.choice([name for name in COLOURS if name not in drawn.names.values()]))
    paints = {**drawn.paints, "shirt": plain(draw_colour(colour, rng))}
    words = drawn.caption.split()
    place = words.index("shirt") - 1  # all templates have the colour just before its part
    words[place - 1 : place + 1] = ["a", colour]
    return replace(
        drawn, shape=replace(puppet, edited_pose=puppet.pose), edited_paints=paints, edited_caption=with_articles(" ".join(words))
    )


def _sitting(drawn: WorldScene, puppet: Puppet, rng: np.random.Generator) -> WorldScene:
    """On the floor: thighs forwards, knees up a little; the arms keep their angles."""
    left, right = (Limb(rng.uniform(0.05, 0.25), rng.uniform(1.6, 1.9), rng.uniform(0.2, 0.7), 0.0) for _ in range(2))
    arms = puppet.pose.limbs[:2]
    return replace(drawn, shape=replace(puppet, edited_pose=Pose((*arms, left, right), puppet.pose.lean, puppet.pose.heading)))


def _occluded(drawn: WorldScene, puppet: Puppet, rng: np.random.Generator) -> WorldScene:
    """A post beside the figure, on the side of the arm that is raised."""
    before, after = puppet.joints(), puppet.joints(edited=True)
    side = max("lr", key=lambda s: float(np.linalg.norm(after[J[f"hand_{s}"]] - before[J[f"hand_{s}"]])))
    shoulder = after[J[f"shoulder_{side}"]] - after[J["neck"]]
    away = POST_AWAY * np.array([shoulder[0], shoulder[1], 0.0]) / np.hypot(shoulder[0], shoulder[1])
    post = Capsule(away, away + np.array([0.0, 0.0, POST_HEIGHT]), POST_RADIUS, "post")
    colour = str(rng.choice([name for name in COLOURS if name not in drawn.names.values()]))
    return replace(drawn, bystanders=(post,), paints={**drawn.paints, "post": plain(draw_colour(colour, rng))})


def _pair(drawn: WorldScene, puppet: Puppet, rng: np.random.Generator) -> WorldScene:
    """A second figure that stands beside the first, in any direction."""
    other = draw_puppet(rng, edited_arm_down=False)
    names = draw_names("figure", other.PARTS, rng)
    angle = rng.uniform(-np.pi, np.pi)
    away = BESIDE * np.array([np.cos(angle), np.sin(angle), 0.0])
    solids = figure_primitives(other.body, figure_joints(other.body, other.pose) + away, other.heading, other.extras)
    paints: dict[str, Paint] = {f"other {part}": paint for part, paint in draw_paints(names, names["skin"], rng).items()}
    bystanders = tuple(replace(solid, part=f"other {solid.part}") for solid in solids)
    return replace(drawn, bystanders=bystanders, paints={**drawn.paints, **paints}, distance=BOTH_SEEN)


_DRAW: dict[str, Callable[[WorldScene, Puppet, np.random.Generator], WorldScene]] = dict(
    zip(OTHER_EDITS, (_recoloured, _sitting, _occluded, _pair), strict=True)
)
