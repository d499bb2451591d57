"""The parts of a Stable Diffusion model and its ControlNets, whatever form their files have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel

from qnerf.backbones.diffusion import BackboneParts
from qnerf.backbones.load import load_part, load_text_encoder, load_tokenizer
from qnerf.backbones.load_single import controlnet_of, read_tensors, text_encoder_of, unet_of, vae_of
from qnerf.backbones.model_parts import ModelFiles, NetFiles, keyed


def load_model(model: ModelFiles, nets: Sequence[NetFiles], dtype: str) -> BackboneParts:
    """The parts in `dtype`; the first net, if there is one, is the main ControlNet. Raises UserError where tensors are missing or
    foreign."""
    loaded = [load_controlnet(net, dtype) for net in nets]
    place = model.place
    with keyed("backbone.model"):
        if place.is_file():
            tensors = read_tensors(place)
            unet = unet_of(tensors, model.unet, place, dtype)
            text_encoder = text_encoder_of(tensors, model.text, place, dtype)
        else:
            unet = load_part(UNet2DConditionModel, place / "unet", dtype)
            text_encoder = load_text_encoder(place / "text_encoder", dtype)
    return BackboneParts(
        unet=unet,
        controlnet=loaded[0] if loaded else None,
        vae=_load_vae(model, dtype),
        text_encoder=text_encoder,
        tokenizer=load_tokenizer(model.tokenizer, model.pad),
        scheduler=cast(DDIMScheduler, DDIMScheduler.from_config(model.schedule)),
        more_controlnets=tuple(loaded[1:]),
    )


def load_controlnet(net: NetFiles, dtype: str) -> ControlNetModel:
    with keyed(net.key):
        if net.place.is_file():
            return controlnet_of(read_tensors(net.place), net.config, net.place, dtype)
        return load_part(ControlNetModel, net.place, dtype)


def _load_vae(model: ModelFiles, dtype: str) -> AutoencoderKL:
    with keyed(model.vae_key):
        if model.vae_place.is_file():
            return vae_of(read_tensors(model.vae_place), model.vae, model.vae_place, dtype)
        return load_part(AutoencoderKL, model.vae_place, dtype)
