"""What a pass of Stable Diffusion's networks costs: operations counted from their configs, over
what a CPU was measured to do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qnerf.backbones.backbone import GIB, MIB, PassCosts
from qnerf.backbones.flops import autoencoder_flops, controlnet_flops, narrow_head_flops, query_bytes, unet_flops
from qnerf.backbones.model_parts import ModelFiles, NetFiles
from qnerf.backbones.weight_files import file_shapes, shapes_of, weights_of
from qnerf.errors import UserError

EMBEDDED_PASS = 0.030
"""Seconds of the embedded backbone's pass, U-Net and ControlNet on one view, on 2 CPU cores in
float32; what the others are measured beside."""
EMBEDDED_RATE = 3.54e9 / EMBEDDED_PASS
"""Operations a second in that pass: narrow layers compute less in a second than wide ones do."""
PASS_RATE, AUTOENCODER_RATE = 1.84 * EMBEDDED_RATE, 2.2 * EMBEDDED_RATE
"""Of Stable Diffusion's networks. Measured in CPU time of one thread, beside the embedded model's
42 GFLOP/s: 71 in a pass of one row at 512 pixels (15.3 s), 55 at 256, where reading the weights
counts more; 89 to 100 in an autoencoder."""
NARROWEST = 35
"""Channels of a head below which attention is not faster. Measured on a CPU over 4096 places: a
score takes 1.86 ns with 4 channels, 2.02 with 8, 2.53 with 40, and 4.28 with 80, about as long as
their products take at the rate above."""
WEIGHTS_RATE, ROWS = 14e9, 4
"""Bytes of weights a second, which each pass reads once, for as many rows."""
GPU_RATE = 168e12
"""Operations a second of passes in half precision on the GPU of docs/gpu.md, where an independent
edit's 2,920 rows of 1.09e12 took 17.8 and 20.0 s: the pass alone, from a CUDA graph, does
220e12."""
SLOW_HALF = 2.0  # a CPU computes half precision by way of float32
LIBRARIES = 0.65 * GIB
PARAMETERS = 1_430_000_000  # of Stable Diffusion 1.5 with one ControlNet


def sd_costs(model: ModelFiles | None, nets: Sequence[NetFiles], width: int, height: int, dtype: str) -> PassCosts:
    """Of one view in one pass, on 2 CPU cores. Without files on this machine, of Stable Diffusion
    1.5 with one ControlNet."""
    unet: dict[str, Any] = model.unet if model else {"cross_attention_dim": 768}
    vae: dict[str, Any] = model.vae if model else {}
    factor = 2 ** (len(vae.get("block_out_channels", (0, 0, 0, 0))) - 1)
    latents = (height // factor, width // factor)
    drawn = [net.config for net in nets] or ([] if model else [unet])
    flops = unet_flops(unet, latents) + sum(controlnet_flops(config, latents) for config in drawn)
    waited = narrow_head_flops(unet, latents, NARROWEST, decoder=True)
    waited += sum(narrow_head_flops(config, latents, NARROWEST, decoder=False) for config in drawn)
    encode, decode = autoencoder_flops(vae, (height, width))
    slower, size = (1.0, 4) if dtype == "float32" else (SLOW_HALF, 2)
    area, channels = latents[0] * latents[1] / 64**2, unet.get("block_out_channels", [320])[0] / 320
    parameters = _parameters(model, nets)
    return PassCosts(
        slowness=slower * ((flops + waited) / PASS_RATE + 4 * parameters / WEIGHTS_RATE / ROWS) / EMBEDDED_PASS,
        code=slower * (encode + decode) / 2 / AUTOENCODER_RATE,
        process=LIBRARIES + size * parameters,
        view=3 * GIB * area * size / 4,
        keys=23 * MIB * area * channels,
        queries=query_bytes(unet, latents),
        gpu=None if dtype == "float32" else flops / GPU_RATE,
        weights=size * parameters,
    )


def _parameters(model: ModelFiles | None, nets: Sequence[NetFiles]) -> float:
    """Numbers in the weights of all parts, by the headers of their files."""
    if model is None:
        return PARAMETERS
    places = [model.place] if model.place.is_file() else [model.place / part for part in ("unet", "text_encoder")]
    places += [place for place in (model.vae_place, *(net.place for net in nets)) if place != model.place]
    try:
        return sum(math.prod(shape) for place in places for shape in _shapes(place).values())
    except UserError:
        return PARAMETERS


def _shapes(place: Any) -> Mapping[str, tuple[int, ...]]:
    return file_shapes(place) if place.is_file() else shapes_of(weights_of(place)[0])
