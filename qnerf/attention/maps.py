"""Edits that look at attention maps, or use those of another pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.edits import KeysValues, MaskKeys
from qnerf.attention.hooks import CONDITIONAL, NULL, AttentionCall, AttentionEdit, Batch
from qnerf.attention.layers import AttentionLayer


def of_the_prompt(batch: Batch) -> tuple[str, ...]:
    """The parts of a batch that are predicted for the prompt: all but the null prompt's."""
    return tuple(name for name in batch.rows if name != NULL)


class RecordQueriesKeys(AttentionEdit):
    """Keep queries and keys of all rows: `kept[layer]` is the pair, each (B, heads, tokens, d), detached. A map of a large layer is
    many times larger than the two that it is made of."""

    reads = ()
    leaves = ("kept",)

    def __init__(self) -> None:
        self.kept: KeysValues = {}

    def before(self, call: AttentionCall) -> AttentionCall:
        self.kept[call.layer] = (call.q.detach(), call.k.detach())
        return call


class AttendAs(AttentionEdit):
    """Named parts of the batch use the maps of another pass, given as its queries and keys, on their own values.

    source: per layer queries and keys of V views, (V, heads, tokens, d). The own queries are untouched, so that a recorder of
    queries keeps the target's own.
    """

    reads = ("source",)

    def __init__(self, rows: tuple[str, ...], source: Mapping[AttentionLayer, tuple[Tensor, Tensor]]) -> None:
        self.rows, self.source = rows, source

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        q, k = self.source[call.layer]
        out = out.clone()
        for part in (call.batch.rows[name] for name in self.rows):
            out[part] = F.scaled_dot_product_attention(q, k, call.v[part])
        return out


class RecordMaps(AttentionEdit):
    """Keep the maps of one named part of the batch, head by head: `maps[layer]`, (V, heads, n, m), still in the graph."""

    reads = ()
    leaves = ("maps",)

    def __init__(self, rows: str = CONDITIONAL) -> None:
        self.rows = rows
        self.maps: dict[AttentionLayer, Tensor] = {}

    def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
        self.maps[call.layer] = p[call.batch.rows[self.rows]]
        return p


class ChangeProbs(AttentionEdit):
    """The maps of named parts of the batch are changed by a function of the layer and of them, (V, heads, n, m)."""

    def __init__(self, rows: tuple[str, ...], change: Callable[[AttentionLayer, Tensor], Tensor]) -> None:
        self.rows, self.change = rows, change

    def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
        p = p.clone()
        for part in (call.batch.rows[name] for name in self.rows):
            p[part] = self.change(call.layer, p[part])
        return p


class DrawToPrompts(AttentionEdit):
    """Named parts of the batch attend to other prompts too: out + Σ s_i (out_i - out), out_i being what the own queries find in
    prompt i.

    local: by prompt, per layer its keys and values, (1, heads, L, d). shares: s by prompt, per layer (V, n).
    """

    reads = ("local", "shares")

    def __init__(
        self, rows: tuple[str, ...], local: Sequence[KeysValues], shares: Sequence[Mapping[AttentionLayer, Tensor]]
    ) -> None:
        self.rows, self.local, self.shares = rows, local, shares

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        drawn = out.clone()
        for part in (call.batch.rows[name] for name in self.rows):
            q = call.q[part]
            for local, shares in zip(self.local, self.shares, strict=True):
                k, v = (x.expand(len(q), -1, -1, -1) for x in local[call.layer])
                other = F.scaled_dot_product_attention(q, k, v)
                drawn[part] += shares[call.layer][:, None, :, None].to(out.dtype) * (other - out[part])
        return drawn


def word_map(p: Tensor, weights: Tensor) -> Tensor:
    """(V, n): the mean over heads of a cross-attention map (V, heads, n, L), summed over tokens by weights (V, L)."""
    return torch.einsum("vhnl,vl->vn", p, weights.to(p)) / p.shape[1]


def word_maps(maps: Mapping[AttentionLayer, Tensor], weights: Tensor) -> Tensor:
    """(V, n): the mean of the word maps of layers of one size."""
    return torch.stack([word_map(p, weights) for p in maps.values()]).mean(dim=0)


def smoothed_words(mean: Tensor, grid: tuple[int, int]) -> Tensor:
    """(V, L - 2, rows, columns): how much of each place a word has, of a mean map (V, n, L) without its start and end.

    A softmax over words of 100 times the map, smoothed over 3 x 3 places (Attend-and-Excite)."""
    images = (100 * mean[..., 1:-1]).softmax(dim=-1).transpose(1, 2).unflatten(-1, grid)
    bell = torch.tensor([-1.0, 0.0, 1.0]).div(0.5).square().div(-2).exp().to(images)
    kernel = (bell[:, None] * bell / bell.sum() ** 2).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=images.shape[1])


def pooled_map(q: Tensor, k: Tensor, grid: tuple[int, int], side: int, block: int = 256) -> Tensor:
    """(V, places, places): the mean over heads of softmax(q kᵀ / √d) of queries and keys (V, heads, n, d) of a grid of tokens,
    averaged to at most side x side places. Weights of a place's keys are summed, so that rows still sum to 1; `block` queries at
    a time are in memory."""
    small = (min(side, grid[0]), min(side, grid[1]))
    found = []
    for part in q.float().split(block, dim=2):
        p = (part @ k.float().transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1).mean(dim=1)
        pooled = F.adaptive_avg_pool2d(p.unflatten(-1, grid), small).flatten(-2)
        found.append(pooled * (grid[0] * grid[1] / (small[0] * small[1])))
    rows = torch.cat(found, dim=1).transpose(1, 2).unflatten(-1, grid)
    return F.adaptive_avg_pool2d(rows, small).flatten(-2).transpose(1, 2)


def sixteenth(layers: tuple[AttentionLayer, ...]) -> tuple[AttentionLayer, ...]:
    """The layers whose maps have a quarter of the latents' side: 16 x 16 tokens of Stable Diffusion's 64 x 64 latents, its cross
    layers 4, 5, 7, 8 and 9. On a smaller model their maps are as many times smaller as its latents are."""
    return tuple(layer for layer in layers if layer.downsampling == 4)


def not_full(layers: tuple[AttentionLayer, ...]) -> tuple[AttentionLayer, ...]:
    """The layers of at most (latent side / 2)² tokens: 2 to 12 of Stable Diffusion's."""
    return tuple(layer for layer in layers if layer.downsampling >= 2)


def normalised(x: Tensor) -> Tensor:
    """Each row (V, n) scaled to 0 … 1; 0 where it is constant."""
    low = x.amin(dim=1, keepdim=True)
    return (x - low) / (x.amax(dim=1, keepdim=True) - low).clamp_min(1e-12)


class MaskByWords(AttentionEdit):
    """Queries where some words are seen attend to keys where the source's pass sees them, all others to the rest (MasaCtrl's
    automatic masks).

    record: keeps the pass's cross-attention maps, of layers of one size; those that were met before this layer
    count. words: (V, L), the weights of their tokens. threshold: of their map, scaled to 0 … 1. source: (V, n)
    bool, where the source's pass sees them, at the tokens of `grid`. latent_size: (h, w) of the latents. union:
    keys are the source's and the own ones.
    """

    def __init__(
        self,
        record: RecordMaps,
        words: Tensor,
        threshold: float,
        source: Tensor,
        grid: tuple[int, int],
        latent_size: tuple[int, int],
        union: bool,
    ) -> None:
        self.record, self.words, self.threshold, self.source = record, words, threshold, source
        self.grid, self.latent_size, self.union = grid, latent_size, union

    def before(self, call: AttentionCall) -> AttentionCall:
        if not self.record.maps:
            return call
        own = normalised(word_maps(self.record.maps, self.words)) >= self.threshold
        size = call.layer.token_grid(self.latent_size)
        queries, keys = (
            F.interpolate(mask.unflatten(1, self.grid)[:, None].float(), size)[:, 0].flatten(1) > 0 for mask in (own, self.source)
        )
        keys = torch.cat([keys, queries], dim=1) if self.union else keys
        return MaskKeys({call.layer: queries}, {call.layer: keys}).before(call)


def thresholded(x: Tensor) -> Tensor:
    """Maps (V, n), softly: norm(sigmoid(10 (norm(A) - .5))), norm scaling to 0 … 1 (Epstein et al. 2023)."""
    return normalised(torch.sigmoid(10 * (normalised(x) - 0.5)))


class KeepOutput:
    """Keep what a module puts out for one named part of the batch: `kept[path]`, in the graph."""

    def __init__(self, rows: str = CONDITIONAL) -> None:
        self.rows = rows
        self.kept: dict[str, Tensor] = {}

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor:
        self.kept[path] = x[batch.rows[self.rows]]
        return x
