"""Layer addresses, on a small U-Net of SD 1.5's topology."""

import pytest

from qnerf.attention.layers import select_layers
from qnerf.backbones.architecture import tiny_backbone
from qnerf.errors import UserError

BACKBONE = tiny_backbone()


def test_addresses_are_those_of_sd() -> None:
    layers = BACKBONE.layers
    assert [layer.index for layer in layers] == list(range(16))
    assert layers[0].path == "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    assert layers[6].path == "mid_block.attentions.0.transformer_blocks.0.attn1"
    assert layers[10].path == "up_blocks.2.attentions.0.transformer_blocks.0.attn1"
    assert [layer.downsampling for layer in layers] == [1, 1, 2, 2, 4, 4, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert [layer.path[-1] for layer in BACKBONE.cross_attention_layers] == ["2"] * 16


def test_a_missing_layer_is_named() -> None:
    with pytest.raises(UserError, match=r"recorder\.layers is \[3, 16\].*16 self-attention layers.*0 to 15"):
        select_layers(BACKBONE.layers, [16, 3], "recorder.layers")
