"""Volume rendering of samples along rays (Kajiya & Von Herzen; Max 1995).

All rays have equally many samples. For such dense tensors nerfacc runs the same operations of PyTorch as this module, on every
device: its CUDA kernels are for packed samples. So it is no dependency; the tests hold these functions against it bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.determinism import running_sum
from qnerf.fields.proposal import DensityGrid
from qnerf.fields.sampling import importance_edges, ray_line
from qnerf.fields.settings import SamplingSettings
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Rays

OCCUPIED = 0.01
"""Opacity of an interval above which it is occupied: nerfacc's and instant-ngp's."""


@dataclass(frozen=True)
class Samples:
    """S intervals on each of R rays. starts, ends: (R, S) distances in world units. positions: (R, S, 3) in [0, 1]^3."""

    starts: Tensor
    ends: Tensor
    positions: Tensor
    radius: float


@torch.no_grad()
def sample_rays(
    rays: Rays,
    space: Space,
    grid: DensityGrid,
    settings: SamplingSettings,
    count: int,
    generator: torch.Generator | None,
    latest: Tensor | None = None,
) -> Samples:
    """Stratified and importance samples for rays (R, 3); `generator` None gives the same samples every time (rendering).

    latest: as in `ray_line`.
    """
    line = ray_line(rays, space, settings, latest)
    even = torch.linspace(0, 1, settings.coarse_samples + 1, device=rays.origins.device)
    edges = line.distance(even.expand(len(rays.origins), -1))
    coarse = samples_between(edges, rays, space)
    density = grid.lookup(coarse.positions)
    weights = composite_weights(density, coarse) if settings.proposal == "weights" else occupied_share(density, coarse)
    chosen = importance_edges(weights, count, settings.uniform_share, generator)
    return samples_between(line.distance(chosen), rays, space)


def samples_between(edges: Tensor, rays: Rays, space: Space) -> Samples:
    """The S intervals between ascending distances (R, S + 1) along rays (R, 3), looked at in their middles."""
    starts, ends = edges[:, :-1], edges[:, 1:]
    middle = ((starts + ends) / 2)[..., None]
    points = rays.origins[:, None] + middle * rays.directions[:, None]
    return Samples(starts, ends, space.to_cube(points), space.radius)


def composite_weights(density: Tensor, samples: Samples) -> Tensor:
    """w_i = T_i (1 - exp(-σ_i δ_i)), (R, S); density (R, S) is per radius of length, so that scenes of any scale train alike."""
    thickness = density * (samples.ends / samples.radius - samples.starts / samples.radius)
    before = torch.cat([torch.zeros_like(thickness[:, :1]), thickness[:, :-1]], dim=-1)
    return torch.exp(-running_sum(before)) * (1 - torch.exp(-thickness))


def occupied_share(density: Tensor, samples: Samples) -> Tensor:
    """(R, S): alike for all intervals that are more than a hundredth opaque, 0 for the others; 1 in all on a ray with any.

    An occupancy grid's sampling (Müller et al. 2022, §E.2): it knows empty space, and not what hides what.
    """
    alpha = 1 - (-density * (samples.ends - samples.starts) / samples.radius).exp()
    occupied = (alpha > OCCUPIED).to(density.dtype)
    return occupied / occupied.sum(-1, keepdim=True).clamp_min(1)


def composite(weights: Tensor, values: Tensor) -> Tensor:
    """Σ_i w_i v_i: weights (R, S), values (R, S, C) to (R, C)."""
    return (weights[..., None] * values).sum(dim=-2)


def expected_depth(weights: Tensor, samples: Samples) -> Tensor:
    """Mean distance along the ray where it ends, (R,), world units: Σ w t / Σ w; the last sample's where it meets nothing."""
    middle = (samples.starts + samples.ends) / 2
    opacity = weights.sum(-1)
    met = (weights * middle).sum(-1) / opacity.clamp_min(1e-6)
    return torch.where(opacity > 1e-6, met, middle[:, -1])
