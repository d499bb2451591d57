"""Floating-point operations of Stable Diffusion's networks, counted from their configs. Needs no torch.

A product and a sum are two. Normalisations, activations and biases are left out: they are below 2 %
of a pass. `tests/backbones/test_flops.py` holds the counts against PyTorch's own counter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

TOKENS = 77  # of a text
_LEVELS = (320, 640, 1280, 1280)
_ATTENDED = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
_CONTROL = (16, 32, 96, 256)
_AUTOENCODER = (128, 256, 512, 512)

Config = Mapping[str, Any]


def unet_flops(config: Config, latents: tuple[int, int]) -> float:
    """Of one row of a `UNet2DConditionModel`'s pass. latents: (height, width)."""
    levels, layers, context = _shape(config)
    attended = [kind.startswith("CrossAttn") for kind in config.get("down_block_types", _ATTENDED)]
    total, skips = _encoder(levels, layers, attended, context, latents)
    channels, channels_in = levels[-1], config.get("in_channels", 4)
    for level in reversed(range(len(levels))):
        places = _at(latents, level)
        for _ in range(layers + 1):
            total += _resnet(channels + skips.pop(), levels[level], places)
            channels = levels[level]
            total += _transformer(channels, places, context) if attended[level] else 0.0
        if level:
            total += _conv(channels, channels, _at(latents, level - 1))
    return total + _conv(channels_in, levels[0], _at(latents, 0)) + _conv(levels[0], channels_in, _at(latents, 0))


def controlnet_flops(config: Config, latents: tuple[int, int]) -> float:
    """Of one row of a `ControlNetModel`'s pass."""
    levels, layers, context = _shape(config)
    attended = [kind.startswith("CrossAttn") for kind in config.get("down_block_types", _ATTENDED)]
    total, skips = _encoder(levels, layers, attended, context, latents)
    total += _conv(config.get("in_channels", 4), levels[0], _at(latents, 0))
    places_of = [_at(latents, min(index // (layers + 1), len(levels) - 1)) for index in range(len(skips))]
    total += sum(2 * c * c * places for c, places in zip(skips, places_of, strict=True))
    total += 2 * levels[-1] ** 2 * _at(latents, len(levels) - 1)
    drawing: Sequence[int] = config.get("conditioning_embedding_out_channels", _CONTROL)
    pixels = _at(latents, 0) * 4 ** (len(drawing) - 1)
    total += _conv(3, drawing[0], pixels)
    for before, after in pairwise(drawing):
        total += _conv(before, before, pixels) + _conv(before, after, pixels / 4)
        pixels /= 4
    return total + _conv(drawing[-1], levels[0], pixels)


def narrow_head_flops(config: Config, latents: tuple[int, int], narrowest: int, decoder: bool) -> float:
    """Operations that self-attention of one row could do beside its own while it takes the
    exponentials of its scores: those of heads of `narrowest` channels in the place of narrower
    ones. decoder: a U-Net's, which a ControlNet has not."""
    levels, layers, _ = _shape(config)
    attended = [kind.startswith("CrossAttn") for kind in config.get("down_block_types", _ATTENDED)]
    # diffusers' name for their number
    found = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    heads = found if isinstance(found, Sequence) else [found] * len(levels)
    maps = [(2 * layers + 1 if decoder else layers) * each for each in attended]
    maps[-1] += 1  # that of the middle
    return sum(
        4.0 * count * of * _at(latents, level) ** 2 * max(narrowest - channels / of, 0.0)
        for level, (channels, of, count) in enumerate(zip(levels, heads, maps, strict=True))
    )


def query_bytes(config: Config, latents: tuple[int, int]) -> float:
    """Of the queries of one view in float32, of all self-attention layers of a U-Net's decoder."""
    levels, layers, _ = _shape(config)
    attended = [kind.startswith("CrossAttn") for kind in config.get("down_block_types", _ATTENDED)]
    sizes = (channels * _at(latents, level) for level, channels in enumerate(levels) if attended[level])
    return 4.0 * (layers + 1) * sum(sizes)


def autoencoder_flops(config: Config, image: tuple[int, int]) -> tuple[float, float]:
    """Of encoding and of decoding one picture with an `AutoencoderKL`. image: (height, width)."""
    levels: Sequence[int] = config.get("block_out_channels", _AUTOENCODER)
    layers, latent = config.get("layers_per_block", 2), config.get("latent_channels", 4)
    deepest, last = _at(image, len(levels) - 1), levels[-1]
    middle = 2 * _resnet(last, last, deepest)
    middle += 8 * last**2 * deepest + 4 * last * deepest**2 if config.get("mid_block_add_attention", True) else 0.0
    encode = _conv(3, levels[0], _at(image, 0)) + middle + _conv(last, 2 * latent, deepest)
    decode = _conv(latent, last, deepest) + middle + _conv(levels[0], 3, _at(image, 0))
    before, after = levels[0], last
    for level, channels in enumerate(levels):
        encode += _resnets(before, channels, layers, _at(image, level))
        encode += _conv(channels, channels, _at(image, level + 1)) if level < len(levels) - 1 else 0.0
        before = channels
    for level in reversed(range(len(levels))):
        decode += _resnets(after, levels[level], layers + 1, _at(image, level))
        decode += _conv(levels[level], levels[level], _at(image, level - 1)) if level else 0.0
        after = levels[level]
    return encode, decode


def _shape(config: Config) -> tuple[Sequence[int], int, int]:
    return config.get("block_out_channels", _LEVELS), config.get("layers_per_block", 2), config.get("cross_attention_dim", 1280)


def _encoder(
    levels: Sequence[int], layers: int, attended: Sequence[bool], context: int, latents: tuple[int, int]
) -> tuple[float, list[int]]:
    """Of a U-Net's way down and its middle, and the channels of its skip connections."""
    total, before, skips = 0.0, levels[0], [levels[0]]
    for level, channels in enumerate(levels):
        places = _at(latents, level)
        total += _resnets(before, channels, layers, places)
        total += layers * _transformer(channels, places, context) if attended[level] else 0.0
        skips += layers * [channels]
        if level < len(levels) - 1:
            total += _conv(channels, channels, _at(latents, level + 1))
            skips.append(channels)
        before = channels
    places = _at(latents, len(levels) - 1)
    return total + 2 * _resnet(before, before, places) + _transformer(before, places, context), skips


def _at(size: tuple[int, int], level: int) -> float:
    """The places of a map after so many halvings."""
    return size[0] * size[1] / 4**level


def _conv(before: int, after: int, places: float) -> float:
    """A 3 x 3 convolution; places: of what it puts out."""
    return 18.0 * before * after * places


def _resnet(before: int, after: int, places: float) -> float:
    shortcut = 2.0 * before * after * places if before != after else 0.0
    return _conv(before, after, places) + _conv(after, after, places) + shortcut


def _resnets(before: int, after: int, count: int, places: float) -> float:
    return _resnet(before, after, places) + (count - 1) * _resnet(after, after, places)


def _transformer(channels: int, places: float, context: int) -> float:
    """Two projections (4 c² n), self-attention (8 c² n + 4 n² c), cross-attention (4 c² n + 4 L w c
    + 4 n L c) and the gated feed-forward network (24 c² n)."""
    square = channels**2 * places
    cross = 4.0 * TOKENS * context * channels + 4.0 * places * TOKENS * channels
    return 40.0 * square + 4.0 * places**2 * channels + cross
