"""What the classifiers can say of a picture, and the truth of it in a rendered one.

Parts are those whose colours captions name, all kinds' together; colours are the names of captions. A rendered view's part
map is drawn from the solids themselves, so no label is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.procedural.captions import COLOURS, SKINS
from qnerf.scenes.procedural.lamp import Lamp
from qnerf.scenes.procedural.puppet import Puppet
from qnerf.scenes.procedural.raycast import PinholeView, geometry, render
from qnerf.scenes.procedural.samples import check_side, draw_sample
from qnerf.scenes.procedural.seat import Seat
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.toy import Toy
from qnerf.scenes.procedural.world import KINDS, WorldScene
from qnerf.scenes.solids import FAR

FLOOR_ENDS, BACKGROUND_BEGINS = 2.5, 5.0  # metres from the middle, between which the floor fades into the background
OWN_PARTS = {"figure": Puppet.PARTS, "lamp": Lamp.PARTS, "seat": Seat.PARTS, "toy": Toy.PARTS}
PARTS = (*(part for kind in KINDS for part in OWN_PARTS[kind]), "floor", "background")
NOUNS = {**{part: (part,) for part in PARTS}, "background": ("background", "wall")}  # the words that captions have for each part
FLOOR, BACKGROUND = PARTS.index("floor"), PARTS.index("background")
OTHER, UNSURE = len(PARTS), 255  # part map: what no caption names, and the floor's fading rim
NAMES = (*COLOURS, *SKINS)
UNTOLD = -1  # a colour that the caption does not tell


def allowed_names() -> Tensor:
    """(parts, names) bool: skin has the names of skins, all else those of colours."""
    skin = torch.tensor([part == "skin" for part in PARTS])[:, None]
    return skin == torch.tensor([name in SKINS for name in NAMES])


@dataclass(frozen=True)
class LabelledView:
    """A rendered view and its truth. image: (3, S, S) float32 in [0, 1]. parts: (S, S) uint8, indices of `PARTS`, `OTHER` or
    `UNSURE`. names: (len(PARTS),) int64, indices of `NAMES`, `UNTOLD` where the caption says nothing."""

    image: np.ndarray
    parts: np.ndarray
    kind: str
    names: np.ndarray
    caption: str


def label_view(scene: WorldScene, view: PinholeView) -> LabelledView:
    """Renders a scene, before its edit, with its labels."""
    solids = scene.solids()
    image = render(view, solids, scene.paints, scene.around, ContactShadow(solids, scene.around.light))
    names = [NAMES.index(scene.names[part]) if part in scene.names else UNTOLD for part in PARTS]
    return LabelledView(image, part_map(scene, view), scene.kind, np.array(names), scene.caption)


def label_sample(seed: int, size: int, kind: str, world: int, heldout: bool) -> LabelledView:
    """`render_sample`'s picture with labels. Raises UserError where the seed is for the other use."""
    check_side(seed, heldout)
    return label_view(*draw_sample(seed, size, kind, world))


def part_map(scene: WorldScene, view: PinholeView) -> np.ndarray:
    """(S, S) uint8: what each pixel's centre shows."""
    solids = scene.solids()
    depth, nearest = geometry(view, solids)
    codes = [PARTS.index(solid.part) if solid.part in PARTS else OTHER for solid in solids]
    labels = np.array([*codes, UNSURE], dtype=np.uint8)[nearest]  # -1, nothing, is the last
    rays = view.directions(view.size).reshape(*depth.shape, 3)
    across = view.camera_to_world[:2, 3] + np.minimum(depth, 1e3)[..., None] * rays[..., :2]
    distance = np.where(depth < FAR, np.linalg.norm(across, axis=-1), np.inf)
    labels[(nearest < 0) & (distance < FLOOR_ENDS)] = FLOOR
    labels[(nearest < 0) & (distance > BACKGROUND_BEGINS)] = BACKGROUND
    return labels


def silhouettes(parts: Tensor) -> Tensor:
    """(N, S, S) bool: where part maps (N, S, S) show the object."""
    return (parts < FLOOR) | (parts == OTHER)


def visible_pixels(parts: Tensor) -> Tensor:
    """(N, len(PARTS)) int64: how many pixels of part maps (N, S, S) show each part."""
    return torch.stack([(parts == part).flatten(1).sum(dim=1) for part in range(len(PARTS))], dim=1)
