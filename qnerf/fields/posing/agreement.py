"""Whether it matters that a proxy is beside the flesh (docs/method.md §7.2).

A bone that runs beside the middle of a fat ear turns it all the same. Where posing by the joints as
they are given, as they are put on their flesh's axes and as blurred flesh has them gives the same
pictures, the same flesh is taken along. It is still brought to another place where the target was
not drawn as far beside as the source.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from qnerf.fields.posing.carving import Room, SourceViews
from qnerf.fields.posing.flesh import Radiant
from qnerf.fields.posing.labels import smoothstep
from qnerf.fields.posing.posed_field import PosedField, pose_field
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.scene import Proxy

SURE = 0.9  # trust by distance from which on nothing more is asked
# PSNR of two pictures, dB: up to the first trust stays that by distance, from the second on it is
# full. Of other flesh, and of the same flesh in another place: a drawing that is a little off is no
# wrong picture.
ALIKE, PLACED = (20.0, 26.0), (14.0, 20.0)


def alternatives(
    field: Radiant, proxy: Proxy, measured: Proxy, settings: PosingSettings, room: Room, views: SourceViews
) -> list[PosedField]:
    """The field posed without centring by the joints as given, as measured (`distance.fit_in`), and by
    the source's as measured with the target's as given. Empty where one of them moves nothing."""
    as_they_are = settings.model_copy(update={"refine": 0.0})
    misplaced = replace(proxy, source=measured.source, target=proxy.target.to(measured.source))
    found = [pose_field(field, each, as_they_are, room, views) for each in (proxy, measured, misplaced)]
    return [each for each in found if each is not None] if all(found) else []


def agreement(pictures: Sequence[Tensor], changed: Sequence[Tensor]) -> float:
    """How far the proxy's place does not matter, in [0, 1].

    pictures, (N, 3, H, W) each: posed by the centred joints, then by those of `alternatives`.
    changed, (N, H, W) each in [0, 1]: where each shows a change.
    """
    *flesh, placed = pictures
    return min(_alike(flesh, changed[:-1], ALIKE), _alike([flesh[0], placed], [changed[0], changed[-1]], PLACED))


def _alike(pictures: Sequence[Tensor], changed: Sequence[Tensor], limits: tuple[float, float]) -> float:
    """The least of all pairs where any of the pictures shows a change; 0 where none does."""
    where = torch.stack([*changed]).amax(0) > 0.1
    if not where.any():
        return 0.0
    worst = max(float((a - b).square().mean(1)[where].mean()) for a, b in itertools.combinations(pictures, 2))
    return float(smoothstep(torch.tensor(-10 * math.log10(max(worst, 1e-9))), *limits))
