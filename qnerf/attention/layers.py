"""The addresses of a UNet's attention layers.

In SD 1.5's topology there are 16 self-attention layers (`attn1`) and as many cross-attention layers (`attn2`). They are
counted from 0 in the order in which a forward pass meets them: encoder 0-5, middle 6, decoder 7-15. MasaCtrl's "layer 10"
is the first of `up_blocks.2`; the nine query sets of QNeRF are layers 7-15.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from qnerf.errors import UserError


@dataclass(frozen=True)
class AttentionLayer:
    """index: place among the layers of its kind. path: module path in the UNet. downsampling: latent pixels per token's side."""

    index: int
    path: str
    downsampling: int

    def token_grid(self, latent_size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens for latents of (height, width)."""
        return latent_size[0] // self.downsampling, latent_size[1] // self.downsampling


def self_attention_layers(unet: nn.Module) -> tuple[AttentionLayer, ...]:
    """All self-attention layers in execution order."""
    return _layers(unet, "attn1")


def cross_attention_layers(unet: nn.Module) -> tuple[AttentionLayer, ...]:
    """All cross-attention layers in execution order."""
    return _layers(unet, "attn2")


def select_layers(layers: tuple[AttentionLayer, ...], indices: Iterable[int], key: str) -> tuple[AttentionLayer, ...]:
    """The layers of these indices; `key` is the setting to name if one does not exist."""
    indices = sorted(set(indices))
    if indices[0] < 0 or indices[-1] >= len(layers):
        raise UserError(
            f"{key} is {indices}, but this backbone has {len(layers)} self-attention layers: "
            f"use indices from 0 to {len(layers) - 1}."
        )
    return tuple(layers[index] for index in indices)


def _layers(unet: nn.Module, kind: str) -> tuple[AttentionLayer, ...]:
    stages = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    paths = [path for path, _ in unet.named_modules() if path.split(".")[-1] == kind and path.split(".")[0] in stages]
    paths.sort(key=lambda path: stages[path.split(".")[0]])  # stable: diffusers registers the middle block last
    levels = len(unet.get_submodule("down_blocks")._modules)
    return tuple(AttentionLayer(index, path, _downsampling(path, levels)) for index, path in enumerate(paths))


def _downsampling(path: str, levels: int) -> int:
    """Each of the encoder's levels but the last halves the map; the decoder doubles it back."""
    stage, block = path.split(".")[:2]
    if stage == "mid_block":
        return 2 ** (levels - 1)
    return 2 ** int(block) if stage == "down_blocks" else 2 ** (levels - 1 - int(block))
