"""The parts of a proxy: what each is, before and after the edit, and how it moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qnerf.fields.bounded import segment_distance
from qnerf.fields.posing.motions import Affine, Motion, Spline, turn_between
from qnerf.fields.posing.settings import PosingSettings
from qnerf.scenes.bounds import bounding_box
from qnerf.scenes.region import STILL, differ, extent
from qnerf.scenes.scene import Proxy
from qnerf.scenes.solids import Box, Solid

UNSURE = 3.0  # what moves by less, in multiples of the proxy's own imprecision, does not either
HALF = 0.5  # what moves by so much of the joint that moves most does move, whatever the imprecision
POINT = 1e-6  # length of a bone, world units, up to which it is a point
STRAIGHT = 0.34  # sine of the least angle (20°) between two bones whose plane tells their twist


@dataclass(frozen=True)
class Part:
    """starts, ends: (K, 3) axes of the part in the source.

    moved: whether the edit moves it. smooth: it deforms rather than turns, and may be still in
    places. joints: indices of the proxy's joints at the ends of a bone, or the one where something
    keeps its direction. stretch: its length after the edit as a share of that before it.
    """

    motion: Motion
    moved: bool
    starts: Tensor
    ends: Tensor
    joints: tuple[int, ...] = ()
    smooth: bool = False
    box: Tensor | None = None  # (4, 3): centre, then half axes, where the part is a solid box
    stretch: float = 1.0
    within: Tensor | None = None  # (B, 4, 3): the boxes of the source whose matter it moves, likewise
    held: Tensor | None = None  # (B, 4, 3): boxes of the source that the edit leaves where they are

    @property
    def keeps(self) -> bool:
        """Whether it is what keeps its direction at a joint."""
        return len(self.joints) == 1

    def boxed(self, points: Tensor) -> tuple[Tensor, Tensor] | None:
        """(P,) whether points (P, 3) of the source lie in a box that moves, and whether in one that
        stays and in none that moves. None where there are not both."""
        if self.within is None or self.held is None:
            return None
        moved = _in_any(self.within, points)
        return moved, _in_any(self.held, points) & ~moved

    def distance(self, points: Tensor) -> Tensor:
        """Of points (P, 3) of the source from the part's axes, (P,); in a box that is solid, 0."""
        if self.box is not None:
            half = self.box[1:].norm(dim=-1)
            beyond = ((points - self.box[0]) @ (self.box[1:] / half[:, None]).T).abs() - half
            return beyond.clamp_min(0).norm(dim=-1)
        return torch.stack([segment_distance(points, a, b) for a, b in zip(self.starts, self.ends, strict=True)]).amin(0)


def parts_of(proxy: Proxy, settings: PosingSettings, device: torch.device) -> list[Part]:
    """Those of any proxy, moved or not. Without a bone there is one part: the box round the joints."""
    kind = _kind(proxy) if settings.parts == "auto" else settings.parts
    source, target = proxy.source.float().to(device), proxy.target.float().to(device)
    if kind == "bones" and proxy.kind == "skeleton" and proxy.bones:
        motion = (target - source).norm(dim=-1)
        least = max(STILL * extent(proxy), min(UNSURE * imprecision(proxy.bones, source, target), HALF * float(motion.max())))
        target = torch.where((motion > least)[:, None], target, source)
        bones = [_bone(index, proxy.bones, source, target) for index in range(len(proxy.bones))]
        return bones + [_at(joint, source, target) for joint in proxy.keeps_direction]
    if kind == "solids" and proxy.source_bounds is not None and proxy.target_bounds is not None:
        pairs = zip(proxy.source_bounds.solids, proxy.target_bounds.solids, strict=True)
        return [_solid(before, after, STILL * extent(proxy), device) for before, after in pairs]
    return [_whole(proxy, source, target)]


def _kind(proxy: Proxy) -> str:
    before, after = proxy.source_bounds, proxy.target_bounds
    if proxy.kind == "box" or not proxy.bones:
        return "joints"
    if before is None or after is None:
        return "bones"
    least = STILL * extent(proxy)
    moved = [a for a, b in zip(before.solids, after.solids, strict=True) if differ(a, b, least)]
    return "joints" if moved and all(isinstance(solid, Box) for solid in moved) else "bones"


def _bone(index: int, bones: tuple[tuple[int, int], ...], source: Tensor, target: Tensor) -> Part:
    a, b = bones[index]
    moved = bool((target != source)[[a, b]].any())
    along = (source[b] - source[a], target[b] - target[a])
    across = _across(index, bones, (source, target))
    lengths = [max(float(d.norm()), POINT) for d in along]
    # What is, or becomes, a point has no direction of its own, and is not turned.
    kept = along[lengths.index(max(lengths))]
    along = [d if length > POINT else kept for d, length in zip(along, lengths, strict=True)]
    turn = turn_between((along[0], across[0]), (along[1], across[1]))
    unit = along[0] / lengths[0]
    shorten = torch.eye(3, device=source.device) + (lengths[0] / lengths[1] - 1) * torch.outer(unit, unit)
    motion = Affine(shorten @ turn, turn, source[a], target[a])
    return Part(motion, moved, source[a][None], source[b][None], (a, b), stretch=lengths[1] / lengths[0])


def _at(joint: int, source: Tensor, target: Tensor) -> Part:
    """What goes where a joint goes, and is not turned."""
    still, place = torch.eye(3, device=source.device), source[joint]
    motion = Affine(still, still, place, target[joint])
    return Part(motion, bool((target[joint] != place).any()), place[None], place[None], (joint,))


def imprecision(bones: tuple[tuple[int, int], ...], source: Tensor, target: Tensor) -> float:
    """How far joints are from where they should be, world units: bones keep their lengths, and
    three in four of these change by less."""
    starts, ends = ([bone[side] for bone in bones] for side in (0, 1))
    lengths = [(points[ends] - points[starts]).norm(dim=-1) for points in (source, target)]
    return float((lengths[1] - lengths[0]).abs().quantile(0.75))


def _across(index: int, bones: tuple[tuple[int, int], ...], states: tuple[Tensor, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """In both states the direction of the one bone that goes on where this one ends, or else of the
    one before it.

    None, None where no bone does so in both, or where it goes straight on, so that the two define no plane.
    """
    a, b = bones[index]
    for joint, sign in ((b, 1.0), (a, -1.0)):
        others = [pair for other, pair in enumerate(bones) if other != index and joint in pair]
        if len(others) != 1:
            continue
        far = others[0][0] if others[0][1] == joint else others[0][1]
        pairs = [(points[b] - points[a], sign * (points[far] - points[joint])) for points in states]
        sines = [torch.linalg.cross(own, on).norm() / (own.norm() * on.norm()).clamp_min(1e-9) for own, on in pairs]
        if min(float(sine) for sine in sines) > STRAIGHT:
            return pairs[0][1], pairs[1][1]
    return None, None


def _whole(proxy: Proxy, source: Tensor, target: Tensor) -> Part:
    """All of the object, which follows its joints, its bones and, where it has any, its boxes."""
    least = STILL * extent(proxy)
    moved = bool((target - source).norm(dim=-1).max() > least)
    pairs = proxy.bones or tuple((joint, joint) for joint in range(len(source)))
    starts, ends = (source[[pair[side] for pair in pairs]] for side in (0, 1))
    corners = source if proxy.kind == "box" else bounding_box(source)
    axes = (corners[[1, 2, 4]] - corners[0]) / 2
    box = torch.cat([corners.mean(0, keepdim=True), axes])
    within, held = _boxes(proxy, least, source.device)
    motion = Spline(*_guides(source, target, () if proxy.kind == "box" else proxy.bones, within))
    return Part(motion, moved, starts, ends, smooth=True, box=box, within=within, held=held)


def _boxes(proxy: Proxy, least: float, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """Of the source's bounds the boxes (B, 4, 3) that the edit moves, and those that it does not;
    None where there are none."""
    before, after = proxy.source_bounds, proxy.target_bounds
    if proxy.kind == "box" or before is None or after is None:
        return None, None
    found: tuple[list[Tensor], list[Tensor]] = [], []
    for solid, other in zip(before.solids, after.solids, strict=True):
        if isinstance(solid, Box):
            values = np.concatenate([solid.centre[None], (solid.turn * solid.half).T]).astype(np.float32)
            found[not differ(solid, other, least)].append(torch.from_numpy(values).to(device))
    within, held = (torch.stack(boxes) if boxes else None for boxes in found)
    return within, held


def _guides(source: Tensor, target: Tensor, bones: tuple[tuple[int, int], ...], boxes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Points (K, 3) of both states that a smooth deformation takes to each other: the joints; the
    bones' middles, since a bone stays straight; and of these, what lies in a box that moves,
    carried to both of its nearest faces: across its shortest side a box moves as one."""
    pairs = torch.tensor(bones, device=source.device, dtype=torch.long).view(-1, 2)
    before, after = (torch.cat([points, points[pairs].mean(1)]) for points in (source, target))
    carried = [(before, after)]
    for box in boxes if boxes is not None else ():
        short = box[1:][box[1:].norm(dim=-1).argmin()]
        inside = _inside(box, before)
        along = ((before - box[0]) @ short / short.square().sum())[inside, None]
        carried += [(before[inside] + (side - along) * short, after[inside] + (side - along) * short) for side in (-1.0, 1.0)]
    return torch.cat([pair[0] for pair in carried]), torch.cat([pair[1] for pair in carried])


def _inside(box: Tensor, points: Tensor) -> Tensor:
    """(P,) whether points (P, 3) are in a box (4, 3)."""
    return ((points - box[0]) @ (box[1:] / box[1:].square().sum(-1, keepdim=True)).T).abs().amax(-1) <= 1


def _in_any(boxes: Tensor, points: Tensor) -> Tensor:
    return torch.stack([_inside(box, points) for box in boxes]).any(0)


def _solid(before: Solid, after: Solid, least: float, device: torch.device) -> Part:
    moved = differ(before, after, least)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)

    if isinstance(before, Box) and isinstance(after, Box):
        turn = tensor(before.turn @ after.turn.T)
        linear = tensor(before.turn @ np.diag(before.half / after.half) @ after.turn.T)
        centre, half = tensor(before.centre), tensor(before.half)
        box = torch.cat([centre[None], (tensor(before.turn) * half).T])
        return Part(Affine(linear, turn, centre, tensor(after.centre)), moved, centre[None], centre[None], box=box)
    ends = [(tensor(points[0]), tensor(points[-1])) for points in (before.hull()[0], after.hull()[0])]
    (a, b), (c, d) = ends
    turn = turn_between((b - a, None), (d - c, None)) if float((b - a).norm()) > 1e-6 else torch.eye(3, device=device)
    return Part(Affine(turn, turn, a, c), moved, a[None], b[None])
