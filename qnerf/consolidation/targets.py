"""The queries that views are guided by, where they act, and their injection into a step (docs/method.md
§2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.attention.edits import BlendQueries
from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.denoising.edit import EditBranch
from qnerf.devices import send
from qnerf.scenes.region import tokens_inside


@dataclass(frozen=True)
class TargetQueries:
    """The queries to be guided by: maps (V, tokens, channels) of each layer, and its scale (standard
    deviation).

    r2: R² of the layer, at most 1. components: (channels, channels) of the layer, symmetric: a
    difference of queries times this matrix has each principal component scaled by the share of its
    variance that is explained, 0 to 1.
    """

    maps: dict[AttentionLayer, Tensor]
    scale: dict[AttentionLayer, float]
    r2: dict[AttentionLayer, float]
    components: dict[AttentionLayer, Tensor]

    def views(self, views: slice) -> TargetQueries:
        maps = {layer: x[views] for layer, x in self.maps.items()}
        return TargetQueries(maps, self.scale, self.r2, self.components)

    def to(self, device: torch.device) -> TargetQueries:
        maps, components = ({layer: send(x, device) for layer, x in part.items()} for part in (self.maps, self.components))
        return TargetQueries(maps, self.scale, self.r2, components)


@torch.no_grad()
def step_with_queries(
    branch: EditBranch,
    z: Tensor,
    k: int,
    target: TargetQueries,
    region: str,
    predictions: str,
    strength: float = 1.0,
    components: Mapping[AttentionLayer, Tensor] | None = None,
) -> Tensor:
    """State k + 1 of latents z (V, 4, h, w), with a share of the rendered queries in the place of the
    model's own, in the tokens that cover any of the region. predictions: "conditional", or "all" that
    the step combines."""
    where = guided_region(branch, region)
    share = {layer: strength * region_tokens(where, layer) for layer in target.maps}
    blend = BlendQueries((CONDITIONAL,) if predictions == "conditional" else None, target.maps, share, components)
    return branch.step(z, branch.noise(z, k, Edits.at(tuple(target.maps), blend)), k)


def guided_region(branch: EditBranch, region: str) -> Tensor:
    """Where the latents are guided: (V, 1, h, w), 0 or 1. region: "moved", "object" or "all"."""
    regions = {"moved": branch.region.moved, "object": branch.region.object, "all": torch.ones_like(branch.region.object)}
    return regions[region][:, None]


def region_tokens(region: Tensor, layer: AttentionLayer) -> Tensor:
    """Which of a layer's tokens cover any of the region (V, 1, h, w): (V, tokens, 1), 0 or 1."""
    inside = tokens_inside(region[:, 0], *layer.token_grid((region.shape[-2], region.shape[-1])))
    return inside.flatten(1)[..., None].to(region.dtype)
