"""Captured cross-attention maps."""

from __future__ import annotations

import math

import torch

from qnerf.attention.edits import attention_edits
from qnerf.attention.layers import cross_attention_layers
from qnerf.attention.maps import CaptureMaps
from qnerf.backbones.architecture import tiny_backbone


def test_maps_are_the_softmax_of_each_head_averaged_and_change_nothing() -> None:
    model = tiny_backbone()
    layers = cross_attention_layers(model.unet)
    z, text = torch.randn(2, 4, 8, 8), model.embed(["a red shirt", "a blue floor"])
    plain = model.predict(z, 300, text)
    capture = CaptureMaps(model.unet, layers)
    with attention_edits(model.unet, {layer: [capture] for layer in layers}):
        edited = model.predict(z, 300, text)
    torch.testing.assert_close(edited, plain, atol=1e-5, rtol=1e-4)
    assert set(capture.maps) == set(layers)
    for layer, maps in capture.maps.items():
        rows, columns = layer.token_grid(model.latent_size)
        assert maps.shape == (2, rows * columns, text.shape[1])
        torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, rows * columns))


def test_a_map_worked_by_hand() -> None:
    """One head of one channel, queries 0 and ln 2, keys 0 and 1: even, and one to two."""
    model = tiny_backbone()
    layer = cross_attention_layers(model.unet)[0]
    capture = CaptureMaps(model.unet, [layer])
    capture.heads[layer] = 1
    q, k = torch.tensor([[[0.0], [math.log(2)]]]), torch.tensor([[[0.0], [1.0]]])
    capture.edit_qkv(layer, q, k, k)
    torch.testing.assert_close(capture.maps[layer], torch.tensor([[[0.5, 0.5], [1 / 3, 2 / 3]]]), atol=1e-4, rtol=1e-4)
