"""The edits, each against its definition."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import (
    BlendQueries,
    ExtendKeysValues,
    InjectKeysValues,
    MaskKeys,
    RecordKeysValues,
    RecordProbs,
    RecordQueries,
    ReplaceOutputs,
    ReplaceProbs,
    UniformAttention,
)
from qnerf.attention.hooks import (
    CONDITIONAL,
    NULL,
    AttentionCall,
    AttentionEdit,
    Batch,
    Edits,
    attention_probs,
    bound,
    join_heads,
    split_heads,
)
from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.architecture import tiny_backbone

BACKBONE = tiny_backbone()
LAYER = BACKBONE.layers[10]
ATTN: Any = BACKBONE.unet.get_submodule(LAYER.path)
ONE = Batch.of(0, [CONDITIONAL], 2)


def hidden(rows: int, tokens: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, tokens, ATTN.to_q.in_features, generator=torch.Generator().manual_seed(seed))


def run(x: Tensor, *edits: AttentionEdit, batch: Batch = ONE) -> Tensor:
    with torch.no_grad(), bound(BACKBONE.unet, Edits.at([LAYER], *edits), batch):
        return ATTN(x)


def heads(x: Tensor) -> Tensor:
    return split_heads(x, ATTN.heads)


def attended(x: Tensor, context: Tensor) -> Tensor:
    """Plain attention of one row's tokens (n, channels) to others (m, channels), written out."""
    q, k, v = (heads(part[None]) for part in (ATTN.to_q(x), ATTN.to_k(context), ATTN.to_v(context)))
    maps = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return ATTN.to_out[0](join_heads(maps @ v))[0]


def keys_values(x: Tensor) -> tuple[Tensor, Tensor]:
    return heads(ATTN.to_k(x)), heads(ATTN.to_v(x))


def test_uniform_attention_is_the_mean_of_the_values() -> None:
    x = hidden(2, 6)
    expected = ATTN.to_out[0](ATTN.to_v(x).mean(dim=1, keepdim=True)).expand_as(x)
    torch.testing.assert_close(run(x, UniformAttention()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("union", [False, True])
def test_injection_by_row_against_explicit_attention(union: bool) -> None:
    """Null reads null, conditional reads conditional, and a part that the source has not reads the conditional one."""
    x, source = hidden(3, 5), hidden(2, 7, seed=1)
    rows = Batch.of(0, [NULL, CONDITIONAL], 1)
    batch = Batch.of(0, ["source_control", NULL, CONDITIONAL], 1)
    found = run(x, InjectKeysValues({LAYER: keys_values(source)}, rows, union), batch=batch)
    for row, of in enumerate((1, 0, 1)):
        context = torch.cat([source[of], x[row]]) if union else source[of]
        torch.testing.assert_close(found[row], attended(x[row], context), rtol=0, atol=1e-5)


def test_injection_under_a_mask() -> None:
    """Masked MasaCtrl: tokens inside see the source's tokens inside, those outside the others; nothing to see means all."""
    x, source = hidden(1, 4), hidden(1, 6, seed=1)
    inside_queries = torch.tensor([[True, False, True, False]])
    inside_keys = torch.tensor([[True, True, False, False, False, True]])
    injection, batch = (
        InjectKeysValues({LAYER: keys_values(source)}, Batch.of(0, [CONDITIONAL], 1), False),
        Batch.of(0, [CONDITIONAL], 1),
    )
    found = run(x, injection, MaskKeys({LAYER: inside_queries}, {LAYER: inside_keys}), batch=batch)
    for token in range(4):
        seen = source[0][inside_keys[0] == inside_queries[0, token]]
        torch.testing.assert_close(found[0, token], attended(x[0, token : token + 1], seen)[0], rtol=0, atol=1e-5)
    none = run(x, injection, MaskKeys({LAYER: inside_queries}, {LAYER: torch.zeros(1, 6, dtype=torch.bool)}), batch=batch)
    torch.testing.assert_close(none[0, 0], attended(x[0, :1], source[0])[0], rtol=0, atol=1e-5)


def test_replaced_maps_leave_recorded_queries_the_target_s_own() -> None:
    """Replacing maps by injecting the source's q and k would make recorded queries the source's: FPE's trap (docs/method.md §4)."""
    x, source = hidden(2, 5), hidden(2, 5, seed=1)

    class Whole(AttentionEdit):
        def probs(self, call: AttentionCall, p: Tensor) -> Tensor:
            kept[call.layer] = p
            return p

    kept: dict[AttentionLayer, Tensor] = {}
    run(source, Whole())
    queries = RecordQueries()
    found = run(x, ReplaceProbs((CONDITIONAL,), kept), queries)
    assert torch.equal(queries.queries[LAYER], ATTN.to_q(x))
    q, k = (heads(part(source)) for part in (ATTN.to_q, ATTN.to_k))
    maps = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    expected = ATTN.to_out[0](join_heads(maps @ heads(ATTN.to_v(x))))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_maps_are_replaced_in_the_named_rows_alone() -> None:
    x, batch = hidden(2, 5), Batch.of(0, [NULL, CONDITIONAL], 1)
    even = {LAYER: torch.full((1, ATTN.heads, 5, 5), 0.2)}
    found = run(x, ReplaceProbs((CONDITIONAL,), even), batch=batch)
    torch.testing.assert_close(found[0], attended(x[0], x[0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], ATTN.to_out[0](ATTN.to_v(x[1]).mean(0, keepdim=True)).expand(5, -1), rtol=0, atol=1e-6)


def test_extended_attention_reaches_views_of_other_chunks() -> None:
    """Recorded chunk by chunk, then used chunk by chunk: as each token attending to all views' tokens, by the names of rows."""
    views = hidden(3, 5)
    everyone: dict[str, Any] = {}
    for name, offset in ((NULL, 0.0), (CONDITIONAL, 1.0)):
        records = []
        for chunk in (slice(0, 2), slice(2, 3)):
            record = RecordKeysValues()
            run(views[chunk] + offset, record, batch=Batch.of(0, [CONDITIONAL], chunk.stop - chunk.start))
            records.append(record.kept[LAYER])
        everyone[name] = {LAYER: tuple(torch.cat(part) for part in zip(*records, strict=True))}
    batch = Batch.of(0, [NULL, CONDITIONAL], 1)
    found = run(torch.cat([views[2:], views[2:] + 1]), ExtendKeysValues(everyone), batch=batch)
    for row, offset in enumerate((0.0, 1.0)):
        expected = attended(views[2] + offset, (views + offset).flatten(0, 1))
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-5)


def test_propagation_of_each_token_s_own_output_is_the_identity() -> None:
    x, kept = hidden(2, 5), {}

    class Outputs(AttentionEdit):
        def after(self, call: AttentionCall, out: Tensor) -> Tensor:
            kept[call.layer] = out.transpose(0, 1).flatten(1, 2)
            return out

    plain = run(x, Outputs())
    own = {LAYER: torch.arange(10).view(2, 5)}
    assert torch.equal(run(x, ReplaceOutputs(kept, own)), plain)
    swapped = run(x, ReplaceOutputs(kept, {LAYER: torch.arange(10).view(2, 5).flip(0)}))
    torch.testing.assert_close(swapped, plain.flip(0), rtol=0, atol=1e-6)


def test_blend_by_components_against_one_component_after_the_other() -> None:
    layer, generator = AttentionLayer(0, "x", 1), torch.Generator().manual_seed(4)
    q, target = torch.randn(4, 5, 6, generator=generator), torch.randn(2, 5, 6, generator=generator)
    share = torch.rand(2, 5, 1, generator=generator)
    axes, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    explained = torch.tensor([1.0, 0.5, 0.25, 0.0, 0.0, 1.0])
    matrix = {layer: (axes * explained) @ axes.T}
    call = AttentionCall(layer, Batch.of(0, [NULL, CONDITIONAL], 2), *(split_heads(q, 2) for _ in range(3)))
    found = BlendQueries((CONDITIONAL,), {layer: target}, {layer: share}, matrix).before(call)
    assert found.k is call.k
    assert found.v is call.v
    expected = q.clone()
    for view, row in enumerate((2, 3)):  # the two views, in the second half of the batch
        for token in range(5):
            for axis, part in zip(axes.T, explained, strict=True):
                away = torch.dot(target[view, token] - q[row, token], axis)
                expected[row, token] += share[view, token, 0] * part * away * axis
    torch.testing.assert_close(join_heads(found.q), expected)


def test_a_map_worked_by_hand() -> None:
    """One head of one channel, queries 0 and ln 2, keys 0 and 1: even, and one to two; the mean over heads."""
    q, k = torch.tensor([[[[0.0], [math.log(2)]]]]), torch.tensor([[[[0.0], [1.0]]]])
    call = AttentionCall(LAYER, Batch.of(0, [CONDITIONAL], 1), q, k, k)
    record = RecordProbs()
    record.probs(call, attention_probs(call))
    expected = torch.tensor([[[0.5, 0.5], [1 / 3, 2 / 3]]])
    torch.testing.assert_close(record.maps[LAYER], expected, atol=1e-6, rtol=1e-6)
    two = replace(call, q=torch.cat([q, torch.zeros_like(q)], dim=1), k=k.expand(-1, 2, -1, -1))
    record.probs(two, attention_probs(two))
    torch.testing.assert_close(record.maps[LAYER], (expected + 0.5) / 2, atol=1e-6, rtol=1e-6)
