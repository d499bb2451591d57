"""The queries that views are guided by, where they act, and their injection into a step (docs/method.md
§2.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qnerf.attention.edits import BlendQueries, RecordQueries
from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.denoising.edit import EditBranch
from qnerf.devices import send
from qnerf.fields.explained import explained_variance
from qnerf.scenes.region import tokens_inside


@dataclass(frozen=True)
class TargetQueries:
    """The queries to be guided by: maps (V, tokens, channels) of each layer, and its scale (standard
    deviation).

    r2: R² of the layer, at most 1. components: (channels, channels) of the layer, symmetric: a
    difference of queries times this matrix has each principal component scaled by the share of its
    variance that is explained, 0 to 1.

    weights: (V, tokens, 1) of each layer, 0 to 1: how strongly each token is guided; None: all alike, by 1. regional: only
    where the guidance's region is; else the weights alone count.
    beside: a second target of the same layers, with weights of its own, say for what the first one's leave.
    """

    maps: dict[AttentionLayer, Tensor]
    scale: dict[AttentionLayer, float]
    r2: dict[AttentionLayer, float]
    components: dict[AttentionLayer, Tensor]
    weights: dict[AttentionLayer, Tensor] | None = None
    beside: TargetQueries | None = None
    regional: bool = True

    @property
    def each(self) -> Iterator[TargetQueries]:
        """This target and those beside it."""
        target: TargetQueries | None = self
        while target is not None:
            yield target
            target = target.beside

    def token_weights(self, where: Tensor, layer: AttentionLayer) -> Tensor:
        """How strongly a layer's tokens are guided where the region (V, 1, h, w) says so: (V, tokens, 1), 0 to 1."""
        inside = region_tokens(where, layer)
        if self.weights is None:
            return inside
        return inside * self.weights[layer] if self.regional else self.weights[layer]

    def views(self, views: slice) -> TargetQueries:
        return self._with(lambda x: x[views], lambda x: x, lambda target: target.views(views))

    def to(self, device: torch.device) -> TargetQueries:
        return self._with(lambda x: send(x, device), lambda x: send(x, device), lambda target: target.to(device))

    def _with(
        self,
        of_views: Callable[[Tensor], Tensor],
        of_all: Callable[[Tensor], Tensor],
        beside: Callable[[TargetQueries], TargetQueries],
    ) -> TargetQueries:
        """The same with other tensors: those that have a row for each view, and those that all views share."""
        return replace(
            self,
            maps={layer: of_views(x) for layer, x in self.maps.items()},
            components={layer: of_all(x) for layer, x in self.components.items()},
            weights=self.weights and {layer: of_views(x) for layer, x in self.weights.items()},
            beside=self.beside and beside(self.beside),
        )


@torch.no_grad()
def step_with_queries(
    branch: EditBranch,
    z: Tensor,
    k: int,
    target: TargetQueries,
    region: str,
    predictions: str,
    strength: float = 1.0,
    by_component: bool = False,
) -> Tensor:
    """State k + 1 of latents z (V, 4, h, w), with a share of the rendered queries in the place of the
    model's own, in the tokens that cover any of the region. predictions: "conditional", or "all" that
    the step combines. by_component: each principal component's share is multiplied by the share of its
    variance that is explained."""
    where, rows = guided_region(branch, region), (CONDITIONAL,) if predictions == "conditional" else None
    own = RecordQueries()
    edits = Edits() if branch.on_disagreement is None else Edits.at(tuple(target.maps), own)
    for one in target.each:
        share = {layer: strength * one.token_weights(where, layer) for layer in one.maps}
        blend = BlendQueries(rows, one.maps, share, one.components if by_component else None)
        edits = edits | Edits.at(tuple(one.maps), blend)
    noise = branch.noise(z, k, edits)
    tell_disagreement(branch, own, target, k)
    return branch.step(z, noise, k)


def tell_disagreement(branch: EditBranch, own: RecordQueries, target: TargetQueries, k: int) -> None:
    """Tells who asks how far the views' own queries of step k are from the target's. Of a pass that is guided, those of later
    layers are what earlier guided layers have left to do."""
    if branch.on_disagreement is not None:
        branch.on_disagreement(disagreement(own.queries, target, branch.region.object), k)


@torch.no_grad()
def disagreement(queries: Mapping[AttentionLayer, Tensor], target: TargetQueries, region: Tensor) -> float:
    """1 - R², the mean over layers: the share of the variance of queries (V, tokens, channels) that the target's do not explain.
    Tokens that cover none of the region (V, h, w) do not count, if any covers it."""
    size = region.shape[-2], region.shape[-1]
    wanted = {layer.path: q.unflatten(1, layer.token_grid(size)) for layer, q in queries.items()}
    found = {layer.path: target.maps[layer].unflatten(1, layer.token_grid(size)) for layer in queries}
    explained = explained_variance(found, wanted, region)
    return 1 - sum(explained.values()) / len(explained)


def guided_region(branch: EditBranch, region: str) -> Tensor:
    """Where the latents are guided: (V, 1, h, w), 0 or 1. region: "moved", "object" or "all"."""
    regions = {"moved": branch.region.moved, "object": branch.region.object, "all": torch.ones_like(branch.region.object)}
    return regions[region][:, None]


def region_tokens(region: Tensor, layer: AttentionLayer) -> Tensor:
    """Which of a layer's tokens cover any of the region (V, 1, h, w): (V, tokens, 1), 0 or 1."""
    inside = tokens_inside(region[:, 0], *layer.token_grid((region.shape[-2], region.shape[-1])))
    return inside.flatten(1)[..., None].to(region.dtype)
