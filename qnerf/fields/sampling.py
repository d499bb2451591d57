"""Where along a ray the field is looked at.

A ray is parametrised by y: with t the distance along it, t_c that of its point nearest to the focus and R the radius of the ball
of interest, y = contract_line((t - t_c) / R). Inside the ball y is linear in t, before and beyond it in disparity, so
the unbounded ray
takes a bounded range of y and the ball most of it. All functions take (rays, ...) tensors and an optional generator for the
stratified draw; without one the samples are the centres of their strata (rendering).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.determinism import running_sum
from qnerf.fields.settings import SamplingSettings
from qnerf.fields.space import Space, contract_line, uncontract_line
from qnerf.scenes.cameras import Rays


@dataclass(frozen=True)
class Line:
    """R rays in their own parametrisation: nearest (R, 1) is t_c in world units, y_near and y_far (R, 1), radius a number."""

    nearest: Tensor
    y_near: Tensor
    y_far: Tensor
    radius: float

    def distance(self, s: Tensor) -> Tensor:
        """s (R, K) in [0, 1] from the near to the far end, to distances in world units."""
        y = self.y_near + s * (self.y_far - self.y_near)
        return self.nearest + self.radius * uncontract_line(y)


def ray_line(rays: Rays, space: Space, settings: SamplingSettings, latest: Tensor | None = None) -> Line:
    """The parametrisation of rays (R, 3), from a small fraction of the camera's distance to `far_radii` beyond the focus.

    latest: (R, 1) distances, world units, beyond which no ray begins.
    """
    to_focus = space.focus.to(rays.origins) - rays.origins
    nearest = (to_focus * rays.directions).sum(-1, keepdim=True)
    near = settings.near_fraction * to_focus.norm(dim=-1, keepdim=True).clamp_min(0.1 * space.radius)
    if latest is not None:
        near = torch.minimum(near, latest)
    if space.limits is not None:
        near = near.clamp_max(space.limits[0])
    y_near = contract_line((near - nearest) / space.radius)
    far = torch.full_like(y_near, settings.far_radii)
    if space.limits is not None:
        far = torch.maximum(far, (space.limits[1] - nearest) / space.radius)
    return Line(nearest, y_near, contract_line(far), space.radius)


def stratified(rows: int, count: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(rows, count) ascending numbers in [0, 1], one per stratum: its centre, or drawn uniformly inside it."""
    start = torch.arange(count, device=device, dtype=torch.float32).expand(rows, count)
    inside = 0.5 if generator is None else torch.rand(rows, count, generator=generator, device=device)
    return (start + inside) / count


def invert_cdf(weights: Tensor, quantiles: Tensor) -> Tensor:
    """Points at which the piecewise-constant density over K equal intervals of [0, 1] reaches the given quantiles.

    weights: (R, K) >= 0, not all 0 in any row. quantiles: (R, S) in [0, 1]. Returns (R, S) in [0, 1].
    """
    count = weights.shape[-1]
    cdf = running_sum(weights)
    cdf = cdf / cdf[:, -1:]
    upper = torch.searchsorted(cdf, quantiles.contiguous()).clamp_max(count - 1)
    start = torch.where(upper > 0, cdf.gather(1, (upper - 1).clamp_min(0)), torch.zeros_like(quantiles))
    mass = (cdf.gather(1, upper) - start).clamp_min(1e-12)
    return (upper + ((quantiles - start) / mass).clamp(0, 1)) / count


def importance_edges(weights: Tensor, count: int, uniform_share: float, generator: torch.Generator | None) -> Tensor:
    """(R, count + 1) ascending interval edges in [0, 1]: dense where `weights` (R, K) are large, a share of them even."""
    rows, coarse = weights.shape
    total = weights.sum(-1, keepdim=True)
    share = torch.where(total > 1e-6, uniform_share + (1 - uniform_share) * (1 - total).clamp(0, 1), 1.0)
    mixed = (1 - share) * weights / total.clamp_min(1e-6) + share / coarse
    inner = invert_cdf(mixed, stratified(rows, count, generator, weights.device))
    middle = (inner[:, 1:] + inner[:, :-1]) / 2
    return torch.cat([torch.zeros_like(inner[:, :1]), middle, torch.ones_like(inner[:, :1])], dim=1)
