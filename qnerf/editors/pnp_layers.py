"""Where Plug-and-Play (Tumanyan et al., CVPR 2023) puts what it takes of the source (docs/method.md §4.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer

FEATURE = "up_blocks.1.resnets.1.conv2"
"""The second convolution of this block, before the skip is added."""


def decoder_layers(layers: tuple[AttentionLayer, ...]) -> tuple[AttentionLayer, ...]:
    """The decoder's self-attention layers but its first: 8 to 15 of Stable Diffusion's."""
    return tuple(layer for layer in layers if layer.path.startswith("up_blocks"))[1:]
