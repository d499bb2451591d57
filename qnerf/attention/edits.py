"""Edits of attention: small objects bound to layers for the length of a `with`; all other layers keep the fast kernel.

An edit sees queries, keys and values before the head split, (batch, tokens, channels), and returns what is to be used.
Edits of one layer apply in order, so a capture behind an injection records what was injected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from qnerf.attention.layers import AttentionLayer


class AttentionEdit(Protocol):
    """One change to (or look at) the attention of a layer."""

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


Edits = Mapping[AttentionLayer, Sequence[AttentionEdit]]


@contextmanager
def attention_edits(unet: nn.Module, edits: Edits) -> Iterator[None]:
    """Run the UNet with these edits; the processors that were there before are put back, also after an error."""
    modules: dict[AttentionLayer, Any] = {layer: unet.get_submodule(layer.path) for layer in edits}
    before = {layer: module.processor for layer, module in modules.items()}
    try:
        for layer, module in modules.items():
            module.processor = _EditedAttention(layer, edits[layer])
        yield
    finally:
        for layer, module in modules.items():
            module.processor = before[layer]


def merge_edits(*parts: Edits) -> dict[AttentionLayer, list[AttentionEdit]]:
    """Several sets of edits as one, earlier sets first."""
    merged: dict[AttentionLayer, list[AttentionEdit]] = {}
    for part in parts:
        for layer, edits in part.items():
            merged.setdefault(layer, []).extend(edits)
    return merged


class _EditedAttention:
    """diffusers' attention processor for SD's transformer blocks (no masks, no group norm), with edits before the head split."""

    def __init__(self, layer: AttentionLayer, edits: Sequence[AttentionEdit]) -> None:
        self.layer, self.edits = layer, edits

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        for edit in self.edits:
            q, k, v = edit.edit_qkv(self.layer, q, k, v)
        split = [x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v)]
        out = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        out = out.transpose(1, 2).flatten(-2)
        return cast(Tensor, attn.to_out[1](attn.to_out[0](out)))


class CaptureQueries:
    """Keep the queries of one part of the batch: `queries[layer]`, (len(part), tokens, channels), float32, still in the graph."""

    def __init__(self, part: slice) -> None:
        self.part = part
        self.queries: dict[AttentionLayer, Tensor] = {}

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.queries[layer] = q[self.part].float()
        return q, k, v


class CaptureKeysValues:
    """Keep keys and values: `kept[layer]` is the pair, each (batch, tokens, channels), detached."""

    def __init__(self) -> None:
        self.kept: dict[AttentionLayer, tuple[Tensor, Tensor]] = {}

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.kept[layer] = (k.detach(), v.detach())
        return q, k, v


class InjectKeysValues:
    """MasaCtrl's mutual self-attention: attend to the source branch's keys and values (`union`: to both branches').

    source: per layer (views, tokens, channels); a batch that holds the views several times (guidance scale) repeats them.
    """

    def __init__(self, source: Mapping[AttentionLayer, tuple[Tensor, Tensor]], union: bool) -> None:
        self.source, self.union = source, union

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        source_k, source_v = (x.repeat(len(q) // len(x), 1, 1) for x in self.source[layer])
        if self.union:
            return q, torch.cat([source_k, k], dim=1), torch.cat([source_v, v], dim=1)
        return q, source_k, source_v


class BlendQueries:
    """Replace a share of the queries q of one part of the batch by given ones Q̂: `q + share (Q̂ - q) C`; a share of 1 without C
    is hard injection.

    target: per layer (views, tokens, channels), float32; a part that holds the views several times (guidance scale) repeats them.
    share: per layer (views, tokens, 1), 0 to 1. components: per layer C, (channels, channels); none: the identity.
    """

    def __init__(
        self,
        part: slice,
        target: Mapping[AttentionLayer, Tensor],
        share: Mapping[AttentionLayer, Tensor],
        components: Mapping[AttentionLayer, Tensor] | None = None,
    ) -> None:
        self.part, self.target, self.share, self.components = part, target, share, components

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        blended = q.clone()
        own = blended[self.part]
        target, share = (x[layer].repeat(len(own) // len(x[layer]), 1, 1) for x in (self.target, self.share))
        difference = target - own if self.components is None else (target - own) @ self.components[layer]
        own += (share * difference).to(q.dtype)
        return blended, k, v


class UniformAttention:
    """Uniform attention maps (arXiv 2411.19652): a softmax over equal scores is the constant 1 / n_tokens, so queries of
    zero give exactly that map."""

    def edit_qkv(self, layer: AttentionLayer, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros_like(q), k, v
