"""Loading a diffusion model named by its settings, from local files unless a download is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from qnerf.backbones.decoder import LatentDecoder
from qnerf.backbones.diffusion import BackboneParts
from qnerf.errors import UserError


def load_parts(
    model: str,
    controlnet: str,
    controlnet_folder: str | None,
    dtype: str,
    download: bool,
    loose: str | None = None,
    decoder: str | None = None,
) -> BackboneParts:
    """The parts of a model, in `dtype`: hub ids or folders in diffusers' layout. Raises UserError where
    one is missing or unreadable.

    controlnet_folder: where in the ControlNet's folder it is. loose: where the one for bounds is, if it
    is there. decoder: where in the model's folder the decoder is that takes the place of the
    autoencoder's own, if it is there.
    """
    options: dict[str, Any] = {"local_files_only": not download, "torch_dtype": getattr(torch, dtype), "use_safetensors": True}
    options["low_cpu_mem_usage"] = False  # the other way needs the accelerate package
    try:
        net = ControlNetModel.from_pretrained(controlnet, subfolder=controlnet_folder, **options)
        second = None
        if loose is not None and (Path(controlnet) / loose).is_dir():
            second = ControlNetModel.from_pretrained(controlnet, subfolder=loose, **options)
    except (OSError, ValueError) as error:
        raise _missing("ControlNet", "backbone.controlnet", controlnet, download) from error
    local: dict[str, Any] = {"local_files_only": not download}
    schedule: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    try:
        vae = AutoencoderKL.from_pretrained(model, subfolder="vae", **options)
        if decoder is not None and (Path(model) / decoder).is_dir():
            vae.decoder = LatentDecoder.from_pretrained(model, subfolder=decoder, **options)  # pyright: ignore[reportAttributeAccessIssue]
        return BackboneParts(
            unet=UNet2DConditionModel.from_pretrained(model, subfolder="unet", **options),
            controlnet=net,
            vae=vae,
            text_encoder=CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=getattr(torch, dtype), **local),
            tokenizer=CLIPTokenizer.from_pretrained(model, subfolder="tokenizer", **local),
            scheduler=cast(DDIMScheduler, DDIMScheduler.from_pretrained(model, subfolder="scheduler", **schedule, **local)),
            loose_controlnet=second,
        )
    except (OSError, ValueError) as error:
        raise _missing("diffusion model", "backbone.model", model, download) from error


def _missing(what: str, key: str, place: str, download: bool) -> UserError:
    if Path(place).is_dir():
        return UserError(
            f"{key}: the {what} in {place} cannot be read; expected diffusers' folder layout with "
            "safetensors weights: download it again or give another folder."
        )
    where = "it is not on the hub" if download else "it is neither a folder nor in the Hugging Face cache"
    advice = "check the name and the connection" if download else "set backbone.download=true"
    return UserError(f"{key}: the {what} {place!r} was not found ({where}): {advice}, or give a local folder.")
