"""Joints moved towards the flesh before posing: a proxy drawn by hand lies beside the limbs (docs/method.md §7.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.flesh import Flesh
from qnerf.fields.posing.parts import Part, parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Proxy

SAMPLES, FAINT = 16, 0.02  # points of a bone; what is added to blurred opacity, so that empty space has a finite cost
STEPS, RATE = 120, 0.04  # of the descent; its rate is a share of the bound
USUAL, IMPRECISE = 0.006, 0.018  # distance of a proxy that fits, and its excess at a trust of 1/e, as shares of the extent
LEAST, MOST = 0.0095, 0.016  # distances below which joints stay, and from which on they are moved wholly, likewise


@dataclass(frozen=True)
class Pull:
    """blur: standard deviation of the flesh's blur, as a share of the extent. full: blurred opacity that half contents a bone.

    stiff: cost of moving one joint by `posing.refine`, where a bone in empty space costs log(1 + full / FAINT).
    """

    blur: float
    full: float
    stiff: float


MEASURE, CORRECT = Pull(0.03, 0.1, 0.03), Pull(0.03, 0.3, 0.03)


@dataclass(frozen=True)
class Refined:
    """proxy: with its joints moved. distance: how far the given one is from the flesh, as a share of the extent: the root mean
    square over its joints of what a cautious refinement moves them by."""

    proxy: Proxy
    distance: float

    @property
    def trust(self) -> float:
        """How far a proxy that lies so far from the flesh is to be believed, in [0, 1]."""
        return math.exp(-((max(0.0, self.distance - USUAL) / IMPRECISE) ** 2))


def refine(proxy: Proxy, flesh: Flesh, opacity: Tensor, settings: PosingSettings, device: torch.device) -> Refined:
    """Move source joints so that bones run through the middle of flesh, and target joints as the edit turns these moves.

    opacity: (X, Y, Z) in [0, 1], the flesh's without air and ground. A proxy that fits stays as it is, bit by bit, as does one that
    the edit does not move. So does one that is not posed by its bones: those of a sofa are the edges of its boxes, not the axes of
    limbs, and a spline through the joints of both states hardly minds where along with it they lie.
    """
    parts = parts_of(proxy, settings, device)
    by_bones = any(part.joints for part in parts)
    if not by_bones or settings.refine == 0 or not any(part.moved for part in parts):
        return Refined(proxy, 0.0)
    size = extent(proxy)
    source, target = proxy.source.float().to(device), proxy.target.float().to(device)
    bound = settings.refine * size
    distance = float(_offsets(source, proxy.bones, flesh, opacity, MEASURE, bound, size).square().sum(-1).mean().sqrt()) / size
    if distance <= LEAST:
        return Refined(proxy, distance)
    share = min(1.0, (distance - LEAST) / (MOST - LEAST))
    offset = share * _offsets(source, proxy.bones, flesh, opacity, CORRECT, bound, size)
    return Refined(replace(proxy, source=source + offset, target=target + carried(parts, offset)), distance)


def carried(parts: list[Part], offset: Tensor) -> Tensor:
    """Moves (J, 3) of the target's joints that go with moves of the source's: turned as the bone that brings the joint along is.

    That is the one of its moved bones that is nearest to what stays; a joint of a bone that stays is not turned.
    """
    smooth = next((part for part in parts if part.smooth), None)
    if smooth is not None:
        return offset @ smooth.motion.rotation
    away = _bones_away(parts)
    found = offset.clone()
    for joint in range(len(offset)):
        own = [part for part in parts if joint in part.joints]
        if own and all(part.moved for part in own):
            carrier = min(own, key=lambda part: min(away.get(end, len(parts)) for end in part.joints))
            found[joint] = offset[joint] @ carrier.motion.rotation
    return found


def _bones_away(parts: list[Part]) -> dict[int, int]:
    """How many bones are between a joint and what stays; joints without such a way are left out."""
    found = {end: 0 for part in parts if not part.moved for end in part.joints}
    for count in range(len(parts)):
        for a, b in (part.joints for part in parts if len(part.joints) == 2):
            for near, far in ((a, b), (b, a)):
                if found.get(near) == count:
                    found.setdefault(far, count + 1)
    return found


def blurred(opacity: Tensor, deviation: float) -> Tensor:
    """Opacity (X, Y, Z) under a Gaussian, its standard deviation in cells; beyond the grid all is empty."""
    half = math.ceil(3 * deviation)
    kernel = torch.exp(-0.5 * (torch.arange(-half, half + 1, device=opacity.device) / deviation) ** 2)
    kernel, found = kernel / kernel.sum(), opacity[None, None]
    for axis in range(3):
        shape, pad = [1, 1, 1, 1, 1], [0, 0, 0]
        shape[2 + axis], pad[axis] = len(kernel), half
        found = F.conv3d(found, kernel.view(shape), padding=pad)
    return found[0, 0]


def _offsets(
    source: Tensor, bones: tuple[tuple[int, int], ...], flesh: Flesh, opacity: Tensor, pull: Pull, bound: float, size: float
) -> Tensor:
    """Moves (J, 3) of least cost Σ_bones mean log(1 + full / (blurred opacity + FAINT)) + stiff Σ_joints |move / bound|², none of
    them longer than bound. size: the extent, world units."""
    blur = blurred(opacity, pull.blur * size / flesh.step)
    starts, ends = ([bone[side] for bone in bones] for side in (0, 1))
    along = torch.linspace(0.05, 0.95, SAMPLES, device=source.device)[:, None]
    offset = torch.zeros_like(source, requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=RATE * bound)
    with torch.enable_grad():
        for _ in range(STEPS):
            joints = source + offset
            points = joints[starts][:, None] * (1 - along) + joints[ends][:, None] * along
            found = flesh.lookup(blur[None], points.view(-1, 3)).view(points.shape[:2])
            cost = torch.log1p(pull.full / (found + FAINT)).mean(1).sum() + pull.stiff * (offset / bound).square().sum()
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
            with torch.no_grad():
                offset *= (bound / offset.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1)
    return offset.detach()
