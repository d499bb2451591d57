"""What of a model is not Stable Diffusion's, and which parts do not belong together, by their configs. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qnerf.backbones.single_file import WIDTHS

if TYPE_CHECKING:
    from qnerf.backbones.model_parts import ModelFiles

SCALE = 0.18215  # of the latents of every Stable Diffusion 1 and 2


def misfits(model: ModelFiles) -> list[str]:
    """What of a model is not Stable Diffusion's, or does not fit together."""
    unet, vae, text, where = model.unet, model.vae, model.text, f"backbone.model: {model.place}"
    context, channels = unet.get("cross_attention_dim"), unet.get("in_channels", 4)
    if unet.get("addition_embed_type") or unet.get("class_embed_type") or unet.get("encoder_hid_dim_type"):
        return [
            f"{where} has a U-Net that asks for more than a text, as SDXL's do, which is not supported: give "
            "Stable Diffusion 1.x or 2.x."
        ]
    problems = []
    if channels in (8, 9):
        kind = "an inpainting model, whose U-Net reads a mask too" if channels == 9 else "a model that reads a picture too"
        problems.append(f"{where} is {kind} ({channels} channels, expected 4): give the model that it was made from.")
    elif channels != vae.get("latent_channels", 4):
        problems.append(
            f"{where} has a U-Net of {channels} channels, but an autoencoder of {vae.get('latent_channels', 4)}: give another."
        )
    architecture = (text.get("architectures") or ["CLIPTextModel"])[0]
    if architecture != "CLIPTextModel" or text.get("model_type", "clip_text_model") != "clip_text_model":
        problems.append(
            f"{where} has a text encoder of class {architecture}, expected CLIPTextModel: give Stable Diffusion 1.x or 2.x."
        )
    elif text.get("hidden_size") != context:
        problems.append(
            f"{where} has a U-Net that reads texts of width {width_name(context)}, but a text encoder of "
            f"{width_name(text.get('hidden_size'))}: "
            "the two do not belong together; download the model again."
        )
    if text.get("use_attention_mask"):
        problems.append(f"{where} has a text encoder with use_attention_mask, which is not supported: give another model.")
    if vae.get("latents_mean") or vae.get("latents_std"):
        problems.append(
            f"{model.vae_key}: {model.vae_place} scales latents by latents_mean and latents_std, which is not supported: "
            "give another."
        )
    return problems


def misfits_of_vae(model: ModelFiles, own: dict[str, Any]) -> list[str]:
    """Why an autoencoder that is given for a model is of another kind of latents, which the U-Net would take for noise. own: the
    config of the model's own."""
    scale, expected = (config.get("scaling_factor", SCALE) for config in (model.vae, own))
    if scale == expected:
        return []
    return [
        f"{model.vae_key}: {model.vae_place} scales latents by {scale:g}, but the model's own autoencoder by {expected:g}: its "
        "latents are of another kind, as SDXL's are; give one that was made for this model."
    ]


def misfits_of_net(place: Path, key: str, config: dict[str, Any], unet: dict[str, Any]) -> list[str]:
    """What of a ControlNet does not fit its model, a sentence each. key: the setting that names it. unet: the U-Net's config."""
    context, ours = config.get("cross_attention_dim", 1280), unet.get("cross_attention_dim")
    if context != ours:
        return [
            f"{key}: {place} is made for texts of width {width_name(context)}, but backbone.model for "
            f"{width_name(ours)}: give a ControlNet "
            "for this model."
        ]
    differ = [
        f"{name} {config[name]} for {unet[name]}"
        for name in ("in_channels", "block_out_channels", "layers_per_block")
        if name in config and name in unet and config[name] != unet[name]
    ]
    return (
        [f"{key}: {place} does not fit backbone.model ({', '.join(differ)}): give a ControlNet for this model."] if differ else []
    )


def width_name(width: Any) -> str:
    """A text encoder's width, with whose it is."""
    return f"{width} ({WIDTHS[width]})" if width in WIDTHS else str(width)
