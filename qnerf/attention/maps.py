"""Cross-attention maps: where in the picture each token of the text is read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from qnerf.attention.layers import AttentionLayer


class CaptureMaps:
    """Keep the maps of one forward pass: `maps[layer]`, (batch, queries, tokens), the mean over heads of softmax(q kᵀ / √d)."""

    def __init__(self, unet: nn.Module, layers: Sequence[AttentionLayer]) -> None:
        self.heads: dict[AttentionLayer, int] = {layer: unet.get_submodule(layer.path).heads for layer in layers}  # pyright: ignore[reportAttributeAccessIssue]
        self.maps: dict[AttentionLayer, Tensor] = {}

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = self.heads[layer]
        queries, keys = (x.detach().unflatten(-1, (heads, -1)).transpose(1, 2).float() for x in (q, k))
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        self.maps[layer] = torch.softmax(scores, dim=-1).mean(dim=1)
        return q, k, v
