"""Rays through the edited scene, and through the source at the same samples."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from qnerf.determinism import running_sum
from qnerf.fields.posing.labels import smoothstep
from qnerf.fields.posing.posed_field import PosedField
from qnerf.fields.rendering import Samples, composite, composite_weights
from qnerf.fields.sampling import importance_edges
from qnerf.scenes.cameras import Rays

COARSE = 96  # looks at the grid of the posed density, a ray
EVEN = 0.3  # share of the samples in the box of what moves that are spread evenly


@dataclass(frozen=True)
class Marched:
    """R rays. moved_colour: (R, 3), Σ w c of moved parts; rest: of all else, what no density stops included.

    source: (R, 3) the source's colour. moved: (R,) opacity of moved parts. gone: (R,) opacity, in the source, of what has left.
    depth, source_depth: (R,) where half of a ray has ended.

    place: (R, 3) where in the source the matter at `depth` is from; part: (R,) the moved part it is of,
    or -1. inside: (R,) how far the moved parts' matter is from seams, in [0, 1]. spread: (R,) standard deviation
    of the depth at which moved parts stop the ray, world units: small for a surface, large for fog.
    """

    moved_colour: Tensor
    rest: Tensor
    source: Tensor
    moved: Tensor
    gone: Tensor
    depth: Tensor
    source_depth: Tensor
    place: Tensor
    part: Tensor
    inside: Tensor
    spread: Tensor

    @staticmethod
    def joined(chunks: list[Marched]) -> Marched:
        return Marched(*(torch.cat([getattr(chunk, field.name) for chunk in chunks]) for field in fields(Marched)))


def march(posed: PosedField, rays: Rays, count: int) -> Marched:
    """Follow rays (R, 3), half of `count` samples where the source's density is and half where the posed density is."""
    space = posed.field.space
    edges = torch.cat([posed.field.edges(rays, count - count // 2), _box_edges(posed, rays, count // 2)], 1).sort(1).values
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    points = rays.origins[:, None] + middle[..., None] * rays.directions[:, None]
    found = posed(points.reshape(-1, 3))
    rows, across = middle.shape
    samples = Samples(edges[:, :-1], edges[:, 1:], points, space.radius)
    weights = composite_weights(found.density.view(rows, across), samples)
    source_weights = composite_weights(found.source_density.view(rows, across), samples)
    by_moved = weights * found.moved.view(rows, across)
    colour = found.colour.view(rows, across, 3)
    around = posed.field.surroundings(rays.directions)
    beyond, source_beyond = ((1 - w.sum(-1))[:, None] * around for w in (weights, source_weights))
    half, source_half = _half_way(weights), _half_way(source_weights)
    purity = by_moved * _purity(posed, found.places.view(rows, across, 3), by_moved)
    opacity = by_moved.sum(-1)
    return Marched(
        composite(by_moved, colour),
        composite(weights - by_moved, colour) + beyond,
        composite(source_weights, found.source_colour.view(rows, across, 3)) + source_beyond,
        opacity.clamp(0, 1),
        (source_weights * found.gone.view(rows, across)).sum(-1).clamp(0, 1),
        middle.gather(1, half)[:, 0],
        middle.gather(1, source_half)[:, 0],
        found.places.view(rows, across, 3)[torch.arange(rows, device=half.device), half[:, 0]],
        found.part.view(rows, across).gather(1, half)[:, 0],
        purity.sum(-1) / opacity.clamp_min(1e-6),
        _spread(by_moved, middle),
    )


def _purity(posed: PosedField, places: Tensor, by_moved: Tensor) -> Tensor:
    """How far source places (R, S, 3) are inside of what moves, (R, S) in [0, 1]; only looked up where it counts."""
    found = torch.ones_like(by_moved)
    counts = by_moved > 1e-3
    share = posed.warp.labels.at(places[counts]).sum(-1)
    found[counts] = smoothstep(share, 0.3, 0.9)
    return found


def _spread(weights: Tensor, distance: Tensor) -> Tensor:
    """Standard deviation (R,) of distances (R, S) by weights (R, S); 0 where nothing has weight."""
    share = weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
    mean = (share * distance).sum(-1, keepdim=True)
    return (share * (distance - mean).square()).sum(-1).sqrt()


def _half_way(weights: Tensor) -> Tensor:
    """(R, 1) index of the sample at which half of what ends on the ray (R, S) has ended; the last one's where nothing does."""
    ended = running_sum(weights)
    return (ended < 0.5 * ended[:, -1:].clamp_min(1e-6)).sum(-1, keepdim=True).clamp_max(weights.shape[-1] - 1)


def _box_edges(posed: PosedField, rays: Rays, count: int) -> Tensor:
    """(R, count) distances inside of the box of all that moves, dense where the posed density is; all alike where rays miss it."""
    enter, leave = box_range(rays, posed.low, posed.high)
    hit = (leave > enter)[:, None]
    enter, leave = enter[:, None], torch.maximum(leave, enter)[:, None]
    middle = (torch.arange(COARSE, device=enter.device) + 0.5) / COARSE
    distance = enter + middle * (leave - enter)
    points = rays.origins[:, None] + distance[..., None] * rays.directions[:, None]
    opacity = posed.coarse(points.view(-1, 3)).view(distance.shape)
    thickness = opacity * ((leave - enter) / COARSE)
    passed = torch.exp(-(running_sum(thickness) - thickness))
    weights = torch.where(hit, passed * (1 - torch.exp(-thickness)) + 1e-6, 1.0)
    chosen = importance_edges(weights, count - 1, EVEN, None)
    return enter + chosen * (leave - enter)


def box_range(rays: Rays, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (R,) at which rays (R, 3) enter and leave a box; the second is the smaller where a ray misses it."""
    slope = torch.where(rays.directions.abs() < 1e-9, 1e-9, rays.directions)
    a, b = (low - rays.origins) / slope, (high - rays.origins) / slope
    return torch.minimum(a, b).amax(-1).clamp_min(0), torch.maximum(a, b).amin(-1)
