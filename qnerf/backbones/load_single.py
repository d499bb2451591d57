"""Loading models from single `.safetensors` files: diffusers' converters give its names, and every tensor is accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from qnerf.backbones.load import part_of_tensors, text_encoder_of_tensors
from qnerf.backbones.single_file import CLIP, OPEN_CLIP, TEXT

TENSORS = dict[str, Tensor]


def read_tensors(place: Path) -> TENSORS:
    """All tensors of a file."""
    return load_file(place)


def unet_of(tensors: TENSORS, config: dict[str, Any], where: Path, dtype: str) -> UNet2DConditionModel:
    return part_of_tensors(
        UNet2DConditionModel, config, convert_ldm_unet_checkpoint(tensors, config), f"{where} (its U-Net)", dtype
    )


def vae_of(tensors: TENSORS, config: dict[str, Any], where: Path, dtype: str) -> AutoencoderKL:
    """From a whole model's tensors or an autoencoder's own."""
    converted = convert_ldm_vae_checkpoint(dict(tensors), config)
    return part_of_tensors(AutoencoderKL, config, converted, f"{where} (its autoencoder)", dtype)


def controlnet_of(tensors: TENSORS, config: dict[str, Any], where: Path, dtype: str) -> ControlNetModel:
    """From LDM's names or diffusers' own."""
    own = "controlnet_cond_embedding.conv_in.weight" in tensors
    converted = tensors if own else convert_controlnet_checkpoint(tensors, config)
    return part_of_tensors(ControlNetModel, config, converted, str(where), dtype)


def text_encoder_of(tensors: TENSORS, config: dict[str, Any], where: Path, dtype: str) -> CLIPTextModel:
    """CLIP's of SD 1, or OpenCLIP's of SD 2 without its last layer."""
    if f"{OPEN_CLIP}token_embedding.weight" in tensors:
        last = f"{OPEN_CLIP}transformer.resblocks.{config['num_hidden_layers']}."
        own = {name: x for name, x in tensors.items() if name.startswith(OPEN_CLIP) and not name.startswith(last)}
        skeleton = CLIPTextModel(CLIPTextConfig(**{**config, "num_hidden_layers": 1}))
        converted = convert_open_clip_checkpoint(skeleton, own, prefix=OPEN_CLIP)
        converted = {name: x for name, x in converted.items() if "text_projection" not in name}
    else:
        own = {name: x for name, x in tensors.items() if name.startswith(TEXT)}
        converted = convert_ldm_clip_checkpoint(own) or {name.removeprefix(CLIP): x for name, x in own.items()}
    return text_encoder_of_tensors(CLIPTextConfig(**config), converted, f"{where} (its text encoder)", dtype)
