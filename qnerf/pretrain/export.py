"""stage=export: a checkpoint's averaged weights as a float16 model folder in diffusers' layout."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableDiffusionControlNetPipeline

from qnerf.backbones.architecture import PuppetWidths, build_puppet
from qnerf.backbones.diffusion import BackboneParts
from qnerf.backbones.puppet import DECODER_FOLDER, PUPPET_FOLDER
from qnerf.backbones.revision import LOOSE_FOLDER, SEAL, seal
from qnerf.common.places import resolve
from qnerf.errors import UserError
from qnerf.pretrain.checkpoint import averaged_weights
from qnerf.pretrain.diffusion import AUTOENCODER, TRAINED
from qnerf.pretrain.initialise import was_trained
from qnerf.pretrain.settings import ExportStage
from qnerf.pretrain.vae import load_decoder, load_vae
from qnerf.pretrain.words import words_of, world_of


def export(settings: ExportStage, widths: PuppetWidths | None = None) -> Path:
    """Writes the model folder beside its place, then moves it there; returns its path."""
    decoder = settings.decoder and load_decoder(settings.decoder, "stage.decoder")
    folder = Path(settings.output) if settings.output else PUPPET_FOLDER
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    exported = resolve(settings.diffusion, "stage.diffusion")
    if (exported / "model_index.json").is_file():
        world = json.loads((exported / SEAL).read_text(encoding="utf-8"))["world"]
        shutil.copytree(exported, fresh)
    else:
        world = _write_training(settings, exported, fresh, widths or PuppetWidths())
    if decoder:
        shutil.rmtree(fresh / DECODER_FOLDER, ignore_errors=True)
        decoder.register_to_config(_name_or_path="")  # else it would say where on this machine it was trained
        decoder.half().save_pretrained(fresh / DECODER_FOLDER)
    seal(fresh, world)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB", flush=True)
    return folder


def _write_training(settings: ExportStage, training: Path, folder: Path, widths: PuppetWidths) -> int:
    """The averages of a training as a model folder; returns the version of its world."""
    weights = averaged_weights(training)
    parts = build_puppet(0, widths, words_of(weights))
    for name in TRAINED["diffusion"]:
        own = {key.removeprefix(name + "."): value for key, value in weights.items() if key.startswith(name + ".")}
        if own or name != "loose_controlnet":  # which older trainings had not
            getattr(parts, name).load_state_dict(own)
    if parts.loose_controlnet is not None and not was_trained(parts.loose_controlnet):  # world 1 has no loose bounds
        parts = replace(parts, loose_controlnet=None)
    save_parts(replace(parts, vae=load_vae(settings.vae or noted_autoencoder(training), "stage.vae")), folder)
    return world_of(weights)


def noted_autoencoder(training: Path) -> str:
    """The folder of the autoencoder whose latents the training was on: another one's pictures would be noise."""
    try:
        return (training / AUTOENCODER).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UserError(f"{training / AUTOENCODER} cannot be read: give the autoencoder's folder with stage.vae=…") from error


def save_parts(parts: BackboneParts, folder: Path) -> None:
    """A `StableDiffusionControlNetPipeline` folder with float16 weights, and the ControlNet for loose bounds beside them."""
    pipeline = StableDiffusionControlNetPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        controlnet=parts.controlnet,  # pyright: ignore[reportArgumentType]
        scheduler=parts.scheduler,  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    if parts.loose_controlnet is not None:
        parts.loose_controlnet.half().save_pretrained(folder / LOOSE_FOLDER)
