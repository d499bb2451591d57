"""Layer addresses and edits, on a small UNet of SD 1.5's topology."""

from typing import Any

import pytest
import torch

from qnerf.attention.edits import (
    BlendQueries,
    CaptureKeysValues,
    CaptureQueries,
    InjectKeysValues,
    UniformAttention,
    attention_edits,
    merge_edits,
)
from qnerf.attention.layers import AttentionLayer, cross_attention_layers, select_layers, self_attention_layers
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.architecture import tiny_backbone
from qnerf.errors import UserError


@pytest.fixture(scope="module")
def backbone() -> DiffusionBackbone:
    return tiny_backbone()


def inputs(backbone: DiffusionBackbone, batch: int = 2) -> tuple[torch.Tensor, int, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    height, width = backbone.latent_size
    return torch.randn(batch, 4, height, width, generator=generator), 400, backbone.embed(["a red shirt"] * batch)


def test_addresses_are_those_of_sd(backbone: DiffusionBackbone) -> None:
    layers = self_attention_layers(backbone.unet)
    assert [layer.index for layer in layers] == list(range(16))
    assert layers[0].path == "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    assert layers[6].path == "mid_block.attentions.0.transformer_blocks.0.attn1"
    assert layers[10].path == "up_blocks.2.attentions.0.transformer_blocks.0.attn1"
    assert [layer.downsampling for layer in layers] == [1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert [layer.path[-1] for layer in cross_attention_layers(backbone.unet)] == ["2"] * 16


def test_order_and_grid_are_what_a_forward_pass_meets(backbone: DiffusionBackbone) -> None:
    layers = self_attention_layers(backbone.unet)
    capture = CaptureQueries(slice(None))
    with attention_edits(backbone.unet, {layer: [capture] for layer in layers}):
        backbone.predict(*inputs(backbone))
    assert tuple(capture.queries) == layers
    for layer, q in capture.queries.items():
        rows, columns = layer.token_grid(backbone.latent_size)
        assert q.shape[:2] == (2, rows * columns)


def test_captured_queries_are_the_output_of_to_q(backbone: DiffusionBackbone) -> None:
    layer = self_attention_layers(backbone.unet)[12]
    seen = []
    handle = backbone.unet.get_submodule(layer.path + ".to_q").register_forward_hook(lambda m, i, out: seen.append(out))
    capture = CaptureQueries(slice(1, None))
    with attention_edits(backbone.unet, {layer: [capture]}):
        backbone.predict(*inputs(backbone))
    handle.remove()
    assert torch.equal(capture.queries[layer], seen[0][1:])


def test_an_edit_that_changes_nothing_changes_nothing(backbone: DiffusionBackbone) -> None:
    plain = backbone.predict(*inputs(backbone))
    layers = self_attention_layers(backbone.unet) + cross_attention_layers(backbone.unet)
    with attention_edits(backbone.unet, {layer: [CaptureKeysValues()] for layer in layers}):
        edited = backbone.predict(*inputs(backbone))
    torch.testing.assert_close(edited, plain, rtol=0, atol=1e-5)


def test_processors_come_back_after_an_error(backbone: DiffusionBackbone) -> None:
    layer = self_attention_layers(backbone.unet)[3]
    module = backbone.unet.get_submodule(layer.path)
    before = module.processor
    with pytest.raises(RuntimeError), attention_edits(backbone.unet, {layer: [CaptureKeysValues()]}):
        raise RuntimeError
    assert module.processor is before


def test_uniform_attention_is_the_mean_of_the_values(backbone: DiffusionBackbone) -> None:
    """Against the definition: every row of the map is 1/n, so each token gets the mean value vector."""
    layer = cross_attention_layers(backbone.unet)[4]
    attn: Any = backbone.unet.get_submodule(layer.path)
    text = backbone.embed(["a figure"])
    hidden = torch.randn(1, 6, attn.to_q.in_features)
    with attention_edits(backbone.unet, {layer: [UniformAttention()]}):
        out = attn(hidden, encoder_hidden_states=text)
    expected = attn.to_out[0](attn.to_v(text).mean(dim=1, keepdim=True)).expand_as(out)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


def test_injection_against_explicit_attention(backbone: DiffusionBackbone) -> None:
    layer = self_attention_layers(backbone.unet)[10]
    attn: Any = backbone.unet.get_submodule(layer.path)
    hidden, source = torch.randn(2, 5, attn.to_q.in_features), torch.randn(1, 7, attn.to_q.in_features)
    source_kv = (attn.to_k(source), attn.to_v(source))
    for union in (False, True):
        with attention_edits(backbone.unet, {layer: [InjectKeysValues({layer: source_kv}, union)]}):
            out = attn(hidden)
        context = source.expand(2, -1, -1)
        context = torch.cat([context, hidden], dim=1) if union else context
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (attn.to_q(hidden), attn.to_k(context), attn.to_v(context))
        )
        maps = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        expected = attn.to_out[0]((maps @ v).transpose(1, 2).flatten(-2))
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


def test_blend_by_hand_and_order_of_edits(backbone: DiffusionBackbone) -> None:
    layer = self_attention_layers(backbone.unet)[13]
    rows, columns = layer.token_grid(backbone.latent_size)
    attn: Any = backbone.unet.get_submodule(layer.path)
    target = {layer: torch.ones(2, rows * columns, attn.to_q.out_features)}
    share = {layer: torch.full((2, rows * columns, 1), 0.25)}
    share[layer][:, 3] = 0
    before, after = CaptureQueries(slice(None)), CaptureQueries(slice(None))
    edits = merge_edits({layer: [before]}, {layer: [BlendQueries(slice(None), target, share), after]})
    with attention_edits(backbone.unet, edits):
        backbone.predict(*inputs(backbone))
    expected = 0.75 * before.queries[layer] + 0.25
    expected[:, 3] = before.queries[layer][:, 3]
    torch.testing.assert_close(after.queries[layer], expected)


def test_blend_by_components_against_one_component_after_the_other() -> None:
    layer, generator = AttentionLayer(0, "x", 1), torch.Generator().manual_seed(4)
    q, target = torch.randn(4, 5, 6, generator=generator), torch.randn(2, 5, 6, generator=generator)
    share = torch.rand(2, 5, 1, generator=generator)
    axes, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    explained = torch.tensor([1.0, 0.5, 0.25, 0.0, 0.0, 1.0])
    matrix = {layer: (axes * explained) @ axes.T}
    found, k, v = BlendQueries(slice(-2, None), {layer: target}, {layer: share}, matrix).edit_qkv(layer, q, q, q)
    assert k is q
    assert v is q
    expected = q.clone()
    for view, row in enumerate((2, 3)):  # the two views, in the second half of the batch
        for token in range(5):
            for axis, part in zip(axes.T, explained, strict=True):
                away = torch.dot(target[view, token] - q[row, token], axis)
                expected[row, token] += share[view, token, 0] * part * away * axis
    torch.testing.assert_close(found, expected)


def test_a_missing_layer_is_named(backbone: DiffusionBackbone) -> None:
    with pytest.raises(UserError, match=r"capture\.layers is \[3, 16\].*16 self-attention layers.*0 to 15"):
        select_layers(self_attention_layers(backbone.unet), [16, 3], "capture.layers")
