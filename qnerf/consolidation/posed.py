"""Guidance shared between the queries of the posed views and consolidated ones (docs/method.md §7)."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from qnerf.consolidation.targets import TargetQueries, region_tokens


def shared(
    posed: TargetQueries, trust: Tensor, rendered: TargetQueries | None, size: tuple[int, int], where: Tensor | None = None
) -> TargetQueries:
    """One target of two: each token is guided by the posed views' queries as far as these are trusted, and for the rest by the
    rendered ones, where there are any.

    trust: (N, H, W), 0 to 1. A token's is the mean over its patch. size: the latents', (h, w). where: (N, 1, h, w), 0 or 1, where
    the posed views' queries guide; None: where the guidance says so.
    """
    weights = {
        layer: F.adaptive_avg_pool2d(trust[:, None], layer.token_grid(size)).flatten(1)[..., None].to(maps)
        for layer, maps in posed.maps.items()
    }
    beside = rendered and replace(rendered, weights={layer: 1 - w.to(rendered.maps[layer]) for layer, w in weights.items()})
    if where is not None:
        weights = {layer: w * region_tokens(where.to(w), layer) for layer, w in weights.items()}
    return replace(posed, weights=weights, beside=beside, regional=where is None)


def held(trust: Tensor, region: Tensor, size: tuple[int, int]) -> Tensor:
    """How far each place of the latents keeps the posed views' own, (N, 1, h, w) in [0, 1]: the mean trust of its patch, inside
    the object's region. trust: (N, H, W), 0 to 1. region: (N, 1, h, w), 0 or 1. size: (h, w)."""
    return F.adaptive_avg_pool2d(trust[:, None], size) * region.to(trust)
