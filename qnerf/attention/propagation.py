"""TokenFlow's two attentions (Geyer et al., ICLR 2024): that of the key views among themselves, and what is taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.edits import KeysValues
from qnerf.attention.hooks import AttentionCall, AttentionEdit
from qnerf.attention.layers import AttentionLayer

Outputs = dict[str, dict[AttentionLayer, Tensor]]
"""By name of rows, per layer: outputs before the projection, (K, heads, tokens, d)."""


class AttendTogether(AttentionEdit):
    """Extended attention of a pass of key views: every row attends to the keys and values of all rows of its part.

    source: per layer queries and keys of the source's pass of these views, (K, heads, tokens, d), that are used in the place of
    the own ones, on the own values; layers that are not in it keep theirs. kept: the outputs, detached.
    """

    def __init__(self, source: KeysValues) -> None:
        self.source = source
        self.kept: Outputs = {}

    def before(self, call: AttentionCall) -> AttentionCall:
        q, k, v = call.q, call.k, call.v
        if call.layer in self.source:
            q, k = (x.to(q).repeat(len(call.batch.rows), 1, 1, 1) for x in self.source[call.layer])
        return replace(call, q=q, k=_side_by_side(k, call), v=_side_by_side(v, call))

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        for name, rows in call.batch.rows.items():
            self.kept.setdefault(name, {})[call.layer] = out[rows].detach()
        return out


def _side_by_side(x: Tensor, call: AttentionCall) -> Tensor:
    """(B, heads, tokens, d) to (B, heads, K * tokens, d): each row has those of all rows of its part."""
    parts = [x[rows] for rows in sorted(call.batch.rows.values(), key=lambda rows: rows.start)]
    return torch.cat([part.transpose(0, 1).flatten(1, 2).expand(len(part), -1, -1, -1) for part in parts])


@dataclass(frozen=True)
class Flow:
    """Where a view's outputs come from. own: the number of the key view that it is, or None. key, before: numbers of the key views
    of its batch and of the batch before, the same in the first. weight: of `key`, the rest is that of `before`. nearest: per layer
    which tokens of the two, (tokens,) each."""

    own: int | None
    key: int
    before: int
    weight: float
    nearest: Mapping[AttentionLayer, tuple[Tensor, Tensor]]


class Propagate(AttentionEdit):
    """A token's output is that of the key views' tokens whose source features are nearest. flows: of the V views of the batch."""

    def __init__(self, outputs: Outputs, flows: list[Flow]) -> None:
        self.outputs, self.flows = outputs, flows

    def after(self, call: AttentionCall, out: Tensor) -> Tensor:
        out = out.clone()
        for name, rows in call.batch.rows.items():
            keys = self.outputs[name][call.layer].to(out)
            out[rows] = torch.stack([self._of(flow, keys, call.layer) for flow in self.flows])
        return out

    @staticmethod
    def _of(flow: Flow, keys: Tensor, layer: AttentionLayer) -> Tensor:
        if flow.own is not None:
            return keys[flow.own]
        near, far = flow.nearest[layer]
        return flow.weight * keys[flow.key][:, near] + (1 - flow.weight) * keys[flow.before][:, far]


def nearest_tokens(features: Tensor, others: Tensor) -> Tensor:
    """(tokens,) of features (tokens, C) the most alike of others (m, C), by the cosine."""
    return (F.normalize(features, dim=-1) @ F.normalize(others, dim=-1).T).argmax(dim=-1)
