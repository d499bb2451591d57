"""The edits that this package's methods are made of: recorders, injections, masks. Each overrides the
hooks that it needs.

Maps used as weights and queries kept as features are separate things: an edit that replaces maps
(`ReplaceProbs`) leaves the queries alone, so that a recorder of queries still keeps the target's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from qnerf.attention.hooks import CONDITIONAL, AttentionCall, AttentionEdit, Batch, join_heads, split_heads
from qnerf.attention.layers import AttentionLayer

KeysValues = dict[AttentionLayer, tuple[Tensor, Tensor]]
"""Keys and values of each layer, (rows, heads, tokens, d)."""


class RecordQueries(AttentionEdit):
    """Keep the queries of one named part of the batch: `queries[layer]`, (V, tokens, channels),
    float32, still in the graph."""

    reads = ()
    leaves = ("queries",)

    def __init__(self, rows: str = CONDITIONAL) -> None:
        self.rows = rows
        self.queries: dict[AttentionLayer, Tensor] = {}

    def before(self, call: AttentionCall) -> AttentionCall:
        self.queries[call.layer] = join_heads(call.q[call.batch.rows[self.rows]]).float()
        return call


class RecordKeysValues(AttentionEdit):
    """Keep keys and values of all rows: `kept[layer]` is the pair, each (B, heads, tokens, d),
    detached."""

    reads = ()
    leaves = ("kept",)

    def __init__(self) -> None:
        self.kept: KeysValues = {}

    def before(self, call: AttentionCall) -> AttentionCall:
        self.kept[call.layer] = (call.k.detach(), call.v.detach())
        return call


class RecordProbs(AttentionEdit):
    """Keep the maps: `maps[layer]`, (B, n, m), float32, the mean over heads of softmax(q kᵀ / √d),
    still in the graph."""

    reads = ()
    leaves = ("maps",)

    def __init__(self) -> None:
        self.maps: dict[AttentionLayer, Tensor] = {}

    def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
        self.maps[call.layer] = p.float().mean(dim=1)
        return p


class InjectKeysValues(AttentionEdit):
    """Mutual self-attention: attend to a source pass's keys and values in the place of the own ones, or
    to both (`union`).

    source: per layer, of the source's rows. rows: which rows of `source` are what. Each named part of
    the batch reads the source's part of the same name, and the conditional one where the source has
    none (MasaCtrl's null half reads the source's null half).
    """

    reads = ("source",)

    def __init__(self, source: Mapping[AttentionLayer, tuple[Tensor, Tensor]], rows: Batch, union: bool) -> None:
        self.source, self.rows, self.union = source, rows.rows, union

    def before(self, call: AttentionCall) -> AttentionCall:
        k, v = (self._rows(x, call.batch) for x in self.source[call.layer])
        if self.union:
            k, v = torch.cat([k, call.k], dim=2), torch.cat([v, call.v], dim=2)
        return replace(call, k=k, v=v)

    def _rows(self, source: Tensor, batch: Batch) -> Tensor:
        wanted = [self.rows.get(name, self.rows[CONDITIONAL]) for name in sorted(batch.rows, key=lambda n: batch.rows[n].start)]
        if len(wanted) == 1 and wanted[0] == slice(0, len(source)):
            return source
        return torch.cat([source[part] for part in wanted])


class BlendQueries(AttentionEdit):
    """Replace a share of the queries q of named parts of the batch by given ones Q̂: `q + share (Q̂ -
    q) C`; a share of 1 without C is hard injection.

    rows: the parts; none: all. target: per layer (V, tokens, channels), float32. share: per layer (V,
    tokens, 1), 0 to 1. components: per layer C, (channels, channels); none: the identity.
    """

    reads = ("target", "share", "components")

    def __init__(
        self,
        rows: tuple[str, ...] | None,
        target: Mapping[AttentionLayer, Tensor],
        share: Mapping[AttentionLayer, Tensor],
        components: Mapping[AttentionLayer, Tensor] | None = None,
    ) -> None:
        self.rows, self.target, self.share, self.components = rows, target, share, components

    def before(self, call: AttentionCall) -> AttentionCall:
        blended = join_heads(call.q).clone()
        target, share = self.target[call.layer], self.share[call.layer]
        for part in (call.batch.rows[name] for name in self.rows or call.batch.rows):
            own = blended[part]
            difference = target - own if self.components is None else (target - own) @ self.components[call.layer]
            own += (share * difference).to(blended.dtype)
        return replace(call, q=split_heads(blended, call.q.shape[1]))


class UniformAttention(AttentionEdit):
    """Uniform attention maps (arXiv 2411.19652): a softmax over equal scores is the constant 1 /
    n_tokens, so queries of zero give exactly that map."""

    reads = ()

    def before(self, call: AttentionCall) -> AttentionCall:
        return replace(call, q=torch.zeros_like(call.q))


class ReplaceProbs(AttentionEdit):
    """Use other maps as weights in named parts of the batch: maps[layer], (V, heads, n, m). Queries and
    keys stay the target's."""

    reads = ("maps",)

    def __init__(self, rows: tuple[str, ...], maps: Mapping[AttentionLayer, Tensor]) -> None:
        self.rows, self.maps = rows, maps

    def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
        p = p.clone()
        for name in self.rows:
            p[call.batch.rows[name]] = self.maps[call.layer].to(p.dtype)
        return p


class MaskKeys(AttentionEdit):
    """Queries inside a region see keys inside it, those outside it keys outside it (masked MasaCtrl).

    inside_queries: per layer (V, n), bool. inside_keys: per layer (V, m), bool. A query that would see
    no key sees all.
    """

    reads = ("inside_queries", "inside_keys")

    def __init__(self, inside_queries: Mapping[AttentionLayer, Tensor], inside_keys: Mapping[AttentionLayer, Tensor]) -> None:
        self.inside_queries, self.inside_keys = inside_queries, inside_keys

    def before(self, call: AttentionCall) -> AttentionCall:
        queries, keys = self.inside_queries[call.layer], self.inside_keys[call.layer]
        seen = queries[:, None, :, None] == keys[:, None, None, :]
        seen = seen | ~seen.any(dim=-1, keepdim=True)
        bias = torch.zeros_like(seen, dtype=call.q.dtype).masked_fill(~seen, -torch.inf)
        bias = bias.repeat(len(call.q) // len(bias), 1, 1, 1)
        return replace(call, bias=bias if call.bias is None else call.bias + bias)


class ExtendKeysValues(AttentionEdit):
    """Extended attention: every row of a named part attends to the keys and values of all views,
    whatever chunk they are in.

    everyone: by name of rows, per layer keys and values of all views, (N, heads, tokens, d), recorded
    before at this step.
    """

    reads = ("everyone",)

    def __init__(self, everyone: Mapping[str, KeysValues]) -> None:
        self.everyone = everyone

    def before(self, call: AttentionCall) -> AttentionCall:
        parts = sorted(call.batch.rows.items(), key=lambda item: item[1].start)
        k, v = (
            torch.cat([self._side_by_side(name, rows.stop - rows.start, call.layer, which) for name, rows in parts])
            for which in (0, 1)
        )
        return replace(call, k=k, v=v)

    def _side_by_side(self, name: str, views: int, layer: AttentionLayer, which: int) -> Tensor:
        """(views, heads, N * tokens, d)."""
        return self.everyone[name][layer][which].transpose(0, 1).flatten(1, 2).expand(views, -1, -1, -1)


class AttendToReferences(AttentionEdit):
    """Each row's output is `own` of its own attention and 1 - own of the mean of its attentions to each reference view's keys
    and values alone (GaussCtrl, Wu et al., ECCV 2024).

    references: by name of rows, per layer keys and values of R reference views, (R, heads, tokens, d). None: the rows of each
    part are themselves the references, and their keys and values are kept by name: `kept[name][layer]`, detached.
    """

    reads = ("references",)
    leaves = ("kept",)

    def __init__(self, own: float, references: Mapping[str, KeysValues] | None = None) -> None:
        self.own, self.references = own, references
        self.kept: dict[str, KeysValues] = {}

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        parts = []
        for name, rows in sorted(call.batch.rows.items(), key=lambda item: item[1].start):
            if self.references is None:
                self.kept.setdefault(name, {})[call.layer] = (call.k[rows].detach(), call.v[rows].detach())
            keys, values = (self.kept if self.references is None else self.references)[name][call.layer]
            q, seen = call.q[rows], torch.zeros_like(out[rows])
            for k, v in zip(keys, values, strict=True):
                seen = seen + scaled_dot_product_attention(q, k.expand(len(q), -1, -1, -1), v.expand(len(q), -1, -1, -1))
            parts.append(self.own * out[rows] + (1 - self.own) * seen / len(keys))
        return torch.cat(parts)


class ReplaceOutputs(AttentionEdit):
    """Propagation: a token's output is that of a token of the key views. pivots: per layer (heads, P,
    d). nearest: per layer (B, tokens), which of the P tokens."""

    reads = ("pivots", "nearest")

    def __init__(self, pivots: Mapping[AttentionLayer, Tensor], nearest: Mapping[AttentionLayer, Tensor]) -> None:
        self.pivots, self.nearest = pivots, nearest

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        return self.pivots[call.layer][:, self.nearest[call.layer]].transpose(0, 1)


class RecordOutput:
    """Keep a module's output: `kept[path]`, detached."""

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor:
        self.kept[path] = x.detach()
        return x


class ReplaceOutput:
    """Put given outputs in the place of those of named parts of the batch: outputs[path], one row a
    view (PnP's residuals)."""

    def __init__(self, rows: tuple[str, ...], outputs: Mapping[str, Tensor]) -> None:
        self.rows, self.outputs = rows, outputs

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor:
        x = x.clone()
        for name in self.rows:
            x[batch.rows[name]] = self.outputs[path].to(x.dtype)
        return x
