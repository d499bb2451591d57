"""Words that look where they should: the cross-attention of a part's words is drawn to the part while the model trains.

It is the token loss of Wang et al., "TokenCompose: text-to-image diffusion with token-level supervision" (CVPR 2024, eq. 4): of a
token's attention over the picture, the share inside its part is to be 1. Their masks come from a segmentation network, ours are
known. A short training learns little of which colour belongs to which part without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qnerf.attention.layers import cross_attention_layers
from qnerf.classifiers.labels import NOUNS, PARTS

FINEST = 2  # layers of at most so many latent pixels a token's side: coarser ones cannot tell parts apart
NO_PART = -1


def words_of_parts(caption: str, names: Mapping[str, str]) -> list[int]:
    """For each word of a caption the index of the part that it names or colours, else `NO_PART`.

    names: the told colours by part. A colour's word counts where it stands only once, so that it can mean one part alone.
    """
    words = caption.split()
    found = [NO_PART] * len(words)
    for part, colour in names.items():
        told = [word for word in (*NOUNS[part], colour) if words.count(word) == 1]
        for word in told:
            found[words.index(word)] = PARTS.index(part)
    return found


def as_tokens(words: Sequence[list[int]], length: int) -> Tensor:
    """(B, length) int64 parts by token: every word is one token, behind the start token."""
    tokens = torch.full((len(words), length), NO_PART)
    for row, parts in zip(tokens, words, strict=True):
        row[1 : 1 + len(parts)] = torch.tensor(parts[: length - 1], dtype=torch.long)
    return tokens


class GroundedAttention:
    """Replaces the processors of the finer cross-attention layers by ones that keep their maps, in the graph."""

    def __init__(self, unet: nn.Module) -> None:
        self.layers = [layer for layer in cross_attention_layers(unet) if layer.downsampling <= FINEST]
        self.kept = {layer: _KeepMap() for layer in self.layers}
        for layer, processor in self.kept.items():
            unet.get_submodule(layer.path).processor = processor  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]

    def loss(self, tokens: Tensor, parts: Tensor, latent_size: tuple[int, int]) -> Tensor:
        """Mean over the pass's tokens with a visible part, and over layers. tokens: (B, L). parts: (B, S, S) part maps."""
        row, place = (tokens != NO_PART).nonzero(as_tuple=True)
        masks = (parts[row] == tokens[row, place][:, None, None]).float()[:, None]
        total = masks.new_zeros(())
        for layer, processor in self.kept.items():
            inside = F.adaptive_avg_pool2d(masks, layer.token_grid(latent_size)).flatten(1).to(processor.maps.device)
            maps = processor.maps[row.to(inside.device), :, place.to(inside.device)]
            total = total.to(inside.device) + token_loss(maps, inside)
        return total / len(self.layers)


def token_loss(maps: Tensor, inside: Tensor) -> Tensor:
    """Mean of (1 - Σ inside·map / Σ map)² over rows with something inside; maps (R, cells) >= 0, inside (R, cells) in [0, 1].

    The share is divided by the best there is, one cell's: where a part covers no cell whole, 1 is out of reach.
    """
    there = inside.amax(dim=1) > 0
    if not bool(there.any()):
        return maps.sum() * 0
    share = (maps * inside)[there].sum(dim=1) / maps[there].sum(dim=1)
    return (1 - share / inside[there].amax(dim=1)).square().mean()


class _KeepMap:
    """diffusers' plain attention, with its probabilities' mean over heads kept: (batch, queries, tokens) float32."""

    maps: Tensor

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        probabilities = attn.get_attention_scores(q, k)
        self.maps = probabilities.unflatten(0, (-1, attn.heads)).mean(dim=1).float()
        out = attn.batch_to_head_dim(torch.bmm(probabilities, v))
        return attn.to_out[1](attn.to_out[0](out))
