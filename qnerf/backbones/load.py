"""Loading a diffusion model named by its settings, from local files unless a download is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from qnerf.backbones.diffusion import BackboneParts, DiffusionBackbone
from qnerf.backbones.revision import LOOSE_FOLDER, check_seal, weights_revision
from qnerf.backbones.settings import PUPPET_FOLDER, PuppetSettings, Sd15Settings
from qnerf.errors import UserError


def load_backbone(settings: PuppetSettings | Sd15Settings, device: torch.device | str = "cpu") -> DiffusionBackbone:
    """The model on `device`, frozen. Raises UserError where its weights are missing or unreadable."""
    dtype: torch.dtype = getattr(torch, settings.dtype)
    revision = weights_revision(settings)
    if isinstance(settings, PuppetSettings):
        folder = Path(settings.path) if settings.path else PUPPET_FOLDER
        if not (folder / "unet" / "config.json").is_file():
            raise UserError(
                f"The embedded backbone's weights were looked for in {folder} and are not there: reinstall the package, "
                "train them with `python -m qnerf.pretrain`, or name their folder in backbone.path."
            )
        check_seal(folder, revision)
        parts = _load_parts(str(folder), str(folder), "controlnet", dtype, download=False)
        size = parts.vae.config["sample_size"]
    else:
        parts = _load_parts(settings.model, settings.controlnet, None, dtype, settings.download)
        size = settings.image_size
    return DiffusionBackbone(parts, (size, size), revision or "unknown", device, settings.channels_last)


def _load_parts(model: str, controlnet: str, controlnet_folder: str | None, dtype: torch.dtype, download: bool) -> BackboneParts:
    options: dict[str, Any] = {"local_files_only": not download, "torch_dtype": dtype, "use_safetensors": True}
    options["low_cpu_mem_usage"] = False  # the other way needs the accelerate package
    try:
        net = ControlNetModel.from_pretrained(controlnet, subfolder=controlnet_folder, **options)
        loose = None
        if controlnet_folder and (Path(controlnet) / LOOSE_FOLDER).is_dir():
            loose = ControlNetModel.from_pretrained(controlnet, subfolder=LOOSE_FOLDER, **options)
    except (OSError, ValueError) as error:
        raise _missing("ControlNet", "backbone.controlnet", controlnet, download) from error
    local: dict[str, Any] = {"local_files_only": not download}
    schedule: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    try:
        return BackboneParts(
            unet=UNet2DConditionModel.from_pretrained(model, subfolder="unet", **options),
            controlnet=net,
            vae=AutoencoderKL.from_pretrained(model, subfolder="vae", **options),
            text_encoder=CLIPTextModel.from_pretrained(model, subfolder="text_encoder", dtype=dtype, **local),
            tokenizer=CLIPTokenizer.from_pretrained(model, subfolder="tokenizer", **local),
            scheduler=cast(DDIMScheduler, DDIMScheduler.from_pretrained(model, subfolder="scheduler", **schedule, **local)),
            loose_controlnet=loose,
        )
    except (OSError, ValueError) as error:
        raise _missing("diffusion model", "backbone.model", model, download) from error


def _missing(what: str, key: str, place: str, download: bool) -> UserError:
    if Path(place).is_dir():
        return UserError(
            f"The {what} in {place} ({key}) could not be read: expected diffusers' folder layout with safetensors "
            "weights; download it again or name another folder."
        )
    where = "on the hub" if download else "as a folder and in the Hugging Face cache"
    advice = "check the name and the connection" if download else "set backbone.download=true"
    return UserError(f"The {what} {place!r} ({key}) was looked for {where} and not found: {advice}, or name a local folder.")
