"""The radiance field of the edited scene: what moved parts bring along, and what stays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.fields.posing.carving import Room, SourceViews
from qnerf.fields.posing.centring import Labelled, centred
from qnerf.fields.posing.distance import Fit, fit_in
from qnerf.fields.posing.flesh import THICKNESS, Flesh, Radiant, flesh_grid, flesh_radius, opacity_at
from qnerf.fields.posing.ground import find_ground
from qnerf.fields.posing.labels import air_in, label_flesh, smoothstep
from qnerf.fields.posing.parts import Part, parts_of
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.posing.shading import Shading, fit_shading
from qnerf.fields.posing.warp import Warp, make_joints
from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Proxy

SEEN = 0.02  # membership below which a point is not looked up
# how far beyond its joints the object is looked for where the proxy has no bounds, as a share of
# the extent
HANGING = 0.25
RIGID = 0.3  # logarithm of a bone's stretch at which it is trusted by 1/e
FILLED = 0.1  # share of the box of a part that deforms which has to be dense
CLEARANCE = 0.01  # over the ground, below which nothing is dragged along, likewise


@dataclass(frozen=True)
class Posed:
    """P points of the edited scene. density: (P,) of it, and of the source at the same points.
    colour, source_colour: (P, 3).

    moved: (P,) share of the density that moved parts brought. gone: (P,) share of the source's
    density that left. places: (P, 3) where in the source the point's matter is from. part: (P,)
    index of the moved part that brought it, -1 for none.
    """

    density: Tensor
    colour: Tensor
    source_density: Tensor
    source_colour: Tensor
    moved: Tensor
    gone: Tensor
    places: Tensor
    part: Tensor


@dataclass(frozen=True)
class PosedField:
    """field: the source's. fits: (K,) of the moved parts, in [0, 1]. low, high: (3,) corners of a
    box round all that moves, before and after; boxes: (K, 2, 3) of what each part is after the
    edit. volumes: (1 + K, X, Y, Z) density on the grid of labels, per world unit of length, of what
    stays and of each part. fit: of the proxy as a whole.
    shading: how bright surfaces are by where they face; None: parts keep their brightness."""

    field: Radiant
    warp: Warp
    fits: Tensor
    low: Tensor
    high: Tensor
    boxes: Tensor
    extent: float
    volumes: Tensor
    fit: Fit
    shading: Shading | None

    def __call__(self, points: Tensor) -> Posed:
        """The edited scene at points (P, 3): σ_e(x) = max(stays(x) σ(x), max_i member_i(W_i(x)) σ(W_i(x))).

        The colour is the mean of those that meet there, weighted by the square of their density.
        """
        source_density, source_colour = self.field.radiance(points)
        stays = torch.ones_like(source_density)
        near = ((points >= self.low) & (points <= self.high)).all(-1).nonzero()[:, 0]
        stays[near] = self.warp.stays(points[near])
        source_density = source_density * self.warp.labels.matter(points)
        density = stays * source_density
        weight, moved_weight = density.square(), torch.zeros_like(density)
        colour = weight[:, None] * source_colour
        places, part, strongest = points.clone(), torch.full_like(stays, -1, dtype=torch.long), density.clone()
        for index in range(len(self.warp.parts)):
            low, high = self.boxes[index]
            rows = ((points >= low) & (points <= high)).all(-1).nonzero()[:, 0]
            y = self.warp.back(index, points[rows])
            member = self.warp.member(index, y, self.warp.labels.at(y))
            seen = member > SEEN
            rows, y = rows[seen], y[seen]
            if not len(rows):
                continue
            found, shade = self.field.radiance(y)
            if self.shading is not None:
                shade = shade * self.shading.change(y, self.warp.parts[index].motion.rotation)
            found = found * member[seen] * self.warp.labels.matter(y)
            square = found.square()
            weight[rows] += square
            moved_weight[rows] += square
            colour[rows] += square[:, None] * shade
            win = found > strongest[rows]
            strongest[rows[win]], places[rows[win]], part[rows[win]] = found[win], y[win], index
        total = weight.clamp_min(1e-20)
        colour = torch.where(weight[:, None] > 1e-20, colour / total[:, None], source_colour)
        return Posed(strongest, colour, source_density, source_colour, moved_weight / total, 1 - stays, places, part)

    def coarse(self, points: Tensor) -> Tensor:
        """Density (P,) of the edited scene at points (P, 3) from the grid alone, per world unit of
        length; 0 outside of it."""
        flesh = self.warp.labels.flesh
        density = flesh.lookup(self.volumes[:1], points)[:, 0]
        for index, (low, high) in enumerate(self.boxes):
            rows = ((points >= low) & (points <= high)).all(-1).nonzero()[:, 0]
            brought = flesh.lookup(self.volumes[index + 1 : index + 2], self.warp.back(index, points[rows]))[:, 0]
            density[rows] = torch.maximum(density[rows], brought)
        return density


@torch.no_grad()
def pose_field(field: Radiant, proxy: Proxy, settings: PosingSettings, room: Room, views: SourceViews) -> PosedField | None:
    """The field of the scene after the proxy's edit; None where the edit moves nothing."""
    size = extent(proxy)
    if not any(part.moved for part in parts_of(proxy, settings, room.low.device)):
        return None
    flesh = flesh_grid(field, room.low, room.high, settings.voxels, size)
    air = air_in(flesh, views)
    matter = _matter(flesh, air, room)

    def label(proxy: Proxy) -> Labelled:
        parts = parts_of(proxy, settings, room.low.device)
        radii = [0.0 if part.box is not None else flesh_radius(field, part, size) for part in parts]
        return Labelled(proxy, parts, radii, label_flesh(flesh, air, parts, radii, settings.reach * size, settings.gap_cost, room))

    fit = fit_in(proxy, flesh, matter, settings, room.low.device)
    found = centred(proxy, label, matter, settings.refine * size, size)
    parts, radii, labels = found.parts, found.radii, found.labels
    moved = [index for index, part in enumerate(parts) if part.moved]
    joints = [make_joints(parts[index], index, parts, radii) for index in moved]
    warp = Warp(labels, [parts[index] for index in moved], joints, settings.blend, 0.01 * size)
    boxes, low, high = _boxes(warp)
    fits = torch.stack([_fit(field, parts[index], size) for index in moved])
    per_length = -(1 - flesh.opacity * (1 - labels.air)).clamp_min(1e-6).log() / (THICKNESS * size)
    volumes = per_length * torch.cat([1 - labels.shares.sum(0, keepdim=True), labels.shares])
    shading = fit_shading(field, flesh, matter, views, 0.03 * size) if settings.relight else None
    return PosedField(field, warp, fits, low, high, boxes, size, volumes, fit, shading)


def _matter(flesh: Flesh, air: Tensor, room: Room) -> Tensor:
    """Opacity (X, Y, Z) of the flesh without air and ground."""
    matter = flesh.opacity * (1 - air)
    return matter if room.ground is None else matter * (room.ground.height(flesh.centres()) > room.clearance)


@torch.no_grad()
def object_room(field: Radiant, proxy: Proxy, device: torch.device) -> Room:
    """Where the source's flesh is: within the source's bounds, or round its joints and what may
    hang on them."""
    size = extent(proxy)
    if proxy.source_bounds is not None:
        hulls = [solid.hull() for solid in proxy_bounds(proxy, "source").solids]
        points = torch.cat([torch.from_numpy(p + side * r).float() for p, r in hulls for side in (-1.0, 1.0)])
    else:
        points = torch.cat([proxy.source.cpu().float() + side * HANGING * size for side in (-1.0, 1.0)])
    low, high = points.amin(0), points.amax(0)
    low, high = low.to(device), high.to(device)
    return Room(low, high, find_ground(field, low, high, float(proxy.source[:, 2].min()), size), CLEARANCE * size)


def _boxes(warp: Warp) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (K, 2, 3) of the parts after the edit, and the corners of one box round them and their
    places in the source."""
    flesh = warp.labels.flesh
    centres, boxes, own = flesh.centres(), [], []
    for index, part in enumerate(warp.parts):
        cells = centres[warp.labels.shares[index] > 0]
        balls = [joint.source + side * 1.3 * joint.radius for joint in warp.joints[index] for side in (-1.0, 1.0)]
        cells = torch.cat([cells, part.starts, part.ends, *(ball[None] for ball in balls)])
        after = part.motion.forward(cells)
        margin = 2 * flesh.step + max((joint.radius for joint in warp.joints[index]), default=0.0)
        boxes.append(torch.stack([after.amin(0) - margin, after.amax(0) + margin]))
        own.append(torch.stack([cells.amin(0) - margin, cells.amax(0) + margin]))
    every = torch.stack(boxes + own)
    return torch.stack(boxes), every[:, 0].amin(0), every[:, 1].amax(0)


def _fit(field: Radiant, part: Part, size: float) -> Tensor:
    """How far a part agrees with the field, () in [0, 1]: 0 where less than a fifth of its bone
    runs through dense flesh, 1 from seven tenths on (a shade is hollow), less where its length is
    not kept.

    A part that deforms has to hold flesh: 1 where a tenth of its box is dense.
    """
    if part.box is not None:
        axes = torch.linspace(-1, 1, 12, device=part.box.device)
        inside = torch.stack(torch.meshgrid(axes, axes, axes, indexing="ij"), dim=-1).view(-1, 3)
        dense = opacity_at(field, part.box[0] + inside @ part.box[1:], size) > 0.5
        return (dense.float().mean() / FILLED).clamp_max(1)
    along = torch.linspace(0.05, 0.95, 19, device=part.starts.device)[:, None, None]
    points = part.starts + along * (part.ends - part.starts)
    offsets = torch.cat([torch.zeros(1, 3), torch.eye(3), -torch.eye(3)]).to(points) * THICKNESS * size
    dense = opacity_at(field, points[:, :, None] + offsets, size).amax(-1) > 0.5
    return smoothstep(dense.float().mean(), 0.2, 0.7) * math.exp(-((math.log(part.stretch) / RIGID) ** 2))
