"""How far a proxy drawn by hand is from the flesh, which says how far it is to be believed
(docs/method.md §7.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.centring import with_moved_joints
from qnerf.fields.posing.flesh import Flesh
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Proxy

# points of a bone; what is added to blurred opacity, so that empty space has a finite cost
SAMPLES, FAINT = 16, 0.02
STEPS, RATE = 120, 0.04  # of the descent; its rate is a share of the bound
# distance of a proxy that fits, and its excess at a trust of 1/e, as shares of the extent
USUAL, IMPRECISE = 0.006, 0.018
BLUR = 0.03  # standard deviation of the flesh's blur, as a share of the extent
FULL = 0.1  # blurred opacity that half contents a bone
# cost of moving one joint by `posing.refine`, where a bone in empty space costs log(1 + FULL /
# FAINT)
STIFF = 0.03


@dataclass(frozen=True)
class Fit:
    """trust: how far a proxy is to be believed, in [0, 1], by how far its joints are from where its
    bones run through flesh. measured: the proxy with its joints there, the target's going along."""

    trust: float
    measured: Proxy


def fit_in(proxy: Proxy, flesh: Flesh, opacity: Tensor, settings: PosingSettings, device: torch.device) -> Fit:
    """How a proxy fits the flesh.

    opacity: (X, Y, Z) in [0, 1], the flesh's without air and ground. A proxy that the edit does not
    move fits, and so does one that is not posed by its bones: those of a sofa are the edges of its
    boxes, not the axes of limbs, and a spline through the joints of both states hardly minds where
    along with it they lie.
    """
    parts = parts_of(proxy, settings, device)
    if settings.refine == 0 or not any(part.joints for part in parts) or not any(part.moved for part in parts):
        return Fit(1.0, proxy)
    size, source = extent(proxy), proxy.source.float().to(device)
    moves = _moves(source, proxy.bones, flesh, opacity, settings.refine * size, size)
    distance = float(moves.square().sum(-1).mean().sqrt()) / size
    trust = math.exp(-((max(0.0, distance - USUAL) / IMPRECISE) ** 2))
    return Fit(trust, with_moved_joints(proxy, parts, moves))


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


def _moves(source: Tensor, bones: tuple[tuple[int, int], ...], flesh: Flesh, opacity: Tensor, bound: float, size: float) -> Tensor:
    """Moves (J, 3) of least cost Σ_bones mean log(1 + FULL / (blurred opacity + FAINT)) + STIFF
    Σ_joints |move / bound|², none of them longer than bound. size: the extent, world units."""
    blur = blurred(opacity, BLUR * size / flesh.step)
    starts, ends = ([bone[side] for bone in bones] for side in (0, 1))
    along = torch.linspace(0.05, 0.95, SAMPLES, device=source.device)[:, None]
    offset = torch.zeros_like(source, requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=RATE * bound)
    with torch.enable_grad():
        for _ in range(STEPS):
            joints = source + offset
            points = joints[starts][:, None] * (1 - along) + joints[ends][:, None] * along
            found = flesh.lookup(blur[None], points.view(-1, 3)).view(points.shape[:2])
            cost = torch.log1p(FULL / (found + FAINT)).mean(1).sum() + STIFF * (offset / bound).square().sum()
            optimiser.zero_grad()
            cost.backward()
            optimiser.step()
            with torch.no_grad():
                offset *= (bound / offset.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1)
    return offset.detach()
