"""Operations counted from configs are those that PyTorch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from qnerf.backbones.flops import TOKENS, autoencoder_flops, controlnet_flops, narrow_head_flops, query_bytes, unet_flops

LATENTS = (16, 24)
SHAPES: dict[str, Any] = {
    "1.5": {"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 768},
    "2.1": {"block_out_channels": (64, 64, 128), "cross_attention_dim": 1024, "use_linear_projection": True, "layers_per_block": 1},
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_pass_and_its_control(name: str) -> None:
    levels = len(SHAPES[name]["block_out_channels"])
    down = (*(levels - 1) * ("CrossAttnDownBlock2D",), "DownBlock2D")
    up = ("UpBlock2D", *(levels - 1) * ("CrossAttnUpBlock2D",))
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SHAPES[name], down_block_types=down, up_block_types=up)
        net = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        z, text = torch.zeros(1, 4, *LATENTS), torch.zeros(1, TOKENS, unet.config["cross_attention_dim"])
        drawing, time = torch.zeros(1, 3, *(8 * side for side in LATENTS)), torch.tensor(5)
    for model, expected, more in (
        (unet, unet_flops(unet.config, LATENTS), ()),
        (net, controlnet_flops(net.config, LATENTS), (drawing,)),
    ):
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            model(z, time, text, *more)
        assert expected == pytest.approx(counted.get_total_flops(), rel=0.02)
        narrow = 0.0  # by the layers themselves: every one whose heads have fewer than 10 channels
        for layer_name, layer in model.named_modules():
            if layer_name.endswith("attn1"):
                level = places_of(layer_name, levels)
                channels, heads = layer.to_q.in_features, layer.heads
                narrow += 4 * heads * (LATENTS[0] * LATENTS[1] / 4**level) ** 2 * max(10 - channels / heads, 0)
        assert narrow_head_flops(model.config, LATENTS, 10, decoder=model is unet) == pytest.approx(narrow)
        assert narrow > 0


def places_of(layer: str, levels: int) -> int:
    """Halvings of a layer's map by the layer's name."""
    kind, index = layer.split(".")[:2]
    if kind == "mid_block":
        return levels - 1
    return int(index) if kind == "down_blocks" else levels - 1 - int(index)


def test_queries_of_stable_diffusions_decoder() -> None:
    """9 layers of 6,720 channels: three each of 16², 32² and 64² tokens."""
    expected = 4 * 3 * (256 * 1280 + 1024 * 640 + 4096 * 320)
    assert query_bytes({"cross_attention_dim": 768}, (64, 64)) == expected


def test_an_autoencoder() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(32, 64, 64),  # pyright: ignore[reportArgumentType]
            down_block_types=("DownEncoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
            up_block_types=("UpDecoderBlock2D",) * 3,  # pyright: ignore[reportArgumentType]
            layers_per_block=2,
        )
        image, z = torch.zeros(1, 3, 64, 96), torch.zeros(1, 4, 16, 24)
    for run, x, expected in zip((vae.encoder, vae.decoder), (image, z), autoencoder_flops(vae.config, (64, 96)), strict=True):
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            run(x)
        assert expected == pytest.approx(counted.get_total_flops(), rel=0.02)
