"""Whether it matters that a proxy is beside the flesh (docs/method.md §7.2).

A bone that runs beside the middle of a fat ear turns it all the same. Where posing by the joints as
they are given, as they are put on their flesh's axes and as blurred flesh has them gives the same
pictures, no doubt is left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.fields.posing.carving import Room, SourceViews
from qnerf.fields.posing.flesh import Radiant
from qnerf.fields.posing.labels import smoothstep
from qnerf.fields.posing.posed_field import PosedField, pose_field
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.scene import Proxy

SURE = 0.9  # trust by distance from which on nothing more is asked
ALIKE = 20.0, 26.0  # PSNR of two pictures: up to the first the proxy is as bad as it is far, from the second on as good as any


def alternatives(
    field: Radiant, proxy: Proxy, measured: Proxy, settings: PosingSettings, room: Room, views: SourceViews
) -> list[PosedField]:
    """The field posed by the joints as given and as measured, neither centred. Empty where one of them moves nothing."""
    as_they_are = settings.model_copy(update={"refine": 0.0})
    found = [pose_field(field, each, as_they_are, room, views) for each in (proxy, measured)]
    return [each for each in found if each is not None] if all(found) else []


def agreement(pictures: Sequence[Tensor], changed: Sequence[Tensor]) -> float:
    """How far pictures (N, 3, H, W) are the same where any of them shows a change, changed (N, H, W) in [0, 1] each: the least of
    all pairs, in [0, 1]."""
    where = torch.stack([*changed]).amax(0) > 0.1
    if not where.any():
        return 0.0
    worst = max(float((a - b).square().mean(1)[where].mean()) for a, b in itertools.combinations(pictures, 2))
    return float(smoothstep(torch.tensor(-10 * math.log10(max(worst, 1e-9))), *ALIKE))
