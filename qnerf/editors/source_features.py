"""What TokenFlow reads of the source's passes, of some views together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer


@dataclass(frozen=True)
class SourceFeatures:
    """What is read of the source's pass of V views. tokens: per layer the normalised tokens that attention reads, (V, n, C). maps:
    queries and keys of layers whose maps are the source's. feature: Plug-and-Play's, or None."""

    tokens: dict[AttentionLayer, Tensor]
    maps: dict[AttentionLayer, tuple[Tensor, Tensor]]
    feature: Tensor | None

    def rows(self, places: list[int]) -> SourceFeatures:
        """Of some of the views."""
        tokens = {layer: x[places] for layer, x in self.tokens.items()}
        maps = {layer: (q[places], k[places]) for layer, (q, k) in self.maps.items()}
        return SourceFeatures(tokens, maps, None if self.feature is None else self.feature[places])

    @staticmethod
    def joined(parts: list[SourceFeatures]) -> SourceFeatures:
        import torch

        tokens = {layer: torch.cat([part.tokens[layer] for part in parts]) for layer in parts[0].tokens}
        maps = {
            layer: (torch.cat([p.maps[layer][0] for p in parts]), torch.cat([p.maps[layer][1] for p in parts]))
            for layer in parts[0].maps
        }
        features = [part.feature for part in parts if part.feature is not None]
        return SourceFeatures(tokens, maps, torch.cat(features) if features else None)
