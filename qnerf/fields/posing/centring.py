"""Joints put on the axes of their own flesh: a hand-drawn bone runs beside the middle of its limb
(docs/method.md §7.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qnerf.fields.posing.labels import Labels, smoothstep
from qnerf.fields.posing.least_squares import least_squares
from qnerf.fields.posing.parts import Part
from qnerf.scenes.scene import Proxy

ROUNDS = 6  # of labels by the joints so far and joints by these labels
SHAFT = 0.1, 0.9  # of a bone, where its flesh is looked at: at its ends it meets that of others
WIDE = 2.5  # radii of the flesh from the bone beyond which it is something that hangs there
FEWEST = 8  # cells of flesh that say where a bone's axis is
ALONG = 0.3  # weight of a joint's place along its limb as given, beside that across it as the flesh says
# root mean square of the moves, shares of the extent: below the first no move is made, from the
# second on all of each
LEAST, MOST = 0.006, 0.012


@dataclass(frozen=True)
class Labelled:
    """A proxy, its parts, the radii of their flesh, and which flesh is whose."""

    proxy: Proxy
    parts: list[Part]
    radii: list[float]
    labels: Labels


def centred(proxy: Proxy, label: Callable[[Proxy], Labelled], matter: Tensor, bound: float, size: float) -> Labelled:
    """The proxy with the joints of its moved bones on their flesh's axes, and the target's moved as
    these bones carry them.

    matter: (X, Y, Z) in [0, 1], opacity of the flesh without air and ground. bound: of a move,
    size: the extent, world units. Joints of a proxy that fits stay as they are, bit by bit. So do
    those that keep their direction, with which their flesh goes.
    """
    first = found = label(proxy)
    moved = {joint for part in first.parts if part.moved and len(part.joints) == 2 for joint in part.joints}
    joints = sorted(moved - set(proxy.keeps_direction))
    if not joints or not bound:
        return first
    offset = torch.zeros_like(found.parts[0].starts.expand(len(proxy.source), 3))
    for _ in range(ROUNDS):
        offset = _offsets(found, matter, offset, joints, bound)
        found = label(with_moved_joints(proxy, found.parts, offset))
    distance = offset[joints].square().sum(-1).mean().sqrt() / size
    share = float(smoothstep(distance, LEAST, MOST))
    if share == 0:
        return first
    return found if share == 1 else label(with_moved_joints(proxy, found.parts, share * offset))


def with_moved_joints(proxy: Proxy, parts: list[Part], offset: Tensor) -> Proxy:
    """The proxy with the source's joints moved by offset (J, 3), the target's as its bones carry them."""
    source, target = proxy.source.to(offset), proxy.target.to(offset)
    return replace(proxy, source=source + offset, target=target + carried(parts, offset))


def carried(parts: list[Part], offset: Tensor) -> Tensor:
    """Moves (J, 3) of the target's joints that go with moves of the source's: turned as the bone
    that brings the joint along is.

    That is the one of its moved bones that is nearest to what stays; a joint of a bone that stays
    is not turned.
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


def _offsets(found: Labelled, matter: Tensor, offset: Tensor, joints: list[int], bound: float) -> Tensor:
    """Moves (J, 3) of the given joints, `offset` (J, 3) being made: those of least
    Σ_b |P_b (δ - δ_b)|² + ALONG |u_b·δ|².

    δ_b is where flesh of bone b has its axis at the joint, P_b = 1 - u_b u_bᵀ projects across the
    bone, whose direction is u_b: where a joint lies along a straight limb flesh does not say, and
    at a bend the two axes meet in it.
    """
    normal = 1e-6 * torch.eye(3, device=offset.device).repeat(len(offset), 1, 1)
    right = torch.zeros_like(offset)
    labels, step = found.labels, found.labels.flesh.step
    places, matter = labels.flesh.centres().view(-1, 3), matter.view(-1)
    moved = [(part, radius) for part, radius in zip(found.parts, found.radii, strict=True) if part.moved]
    for (part, radius), share in zip(moved, labels.shares, strict=True):
        if len(part.joints) != 2:
            continue
        start, along = part.starts[0], part.ends[0] - part.starts[0]
        length = along.norm()
        unit = along / length
        at = (places - start) @ unit / length
        across = places - start - (at * length)[:, None] * unit
        own = (share.view(-1) > 0.5) & (at > SHAFT[0]) & (at < SHAFT[1]) & (across.norm(dim=-1) < WIDE * radius + 2 * step)
        weight = matter[own]
        if own.sum() < FEWEST or weight.sum() < FEWEST / 2:
            continue
        # the axis: a straight line between the offsets of its two joints
        line = torch.stack([1 - at[own], at[own]], 1)
        ends = least_squares(line, across[own], weight)
        beside = torch.eye(3, device=offset.device) - torch.outer(unit, unit)
        for joint, end in zip(part.joints, ends, strict=True):
            normal[joint] += beside + ALONG * torch.outer(unit, unit)
            right[joint] += beside @ (offset[joint] + end)
    solved = torch.linalg.solve(normal, right[..., None])[..., 0]
    moves = torch.zeros_like(offset)
    moves[joints] = solved[joints]
    return moves * (bound / moves.norm(dim=-1, keepdim=True).clamp_min(1e-9)).clamp_max(1)
