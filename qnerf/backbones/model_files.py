"""A diffusion model and its ControlNets as files: their configs, and everything that does not fit, found before anything is loaded.

Reads JSON and the headers of weights alone, and needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from qnerf.backbones.misfits import misfits, misfits_of_net, misfits_of_vae
from qnerf.backbones.model_parts import (
    ModelFiles,
    NetFiles,
    config_of_vae,
    keyed,
    place_of_vae,
    tokenizer_folder,
    tokenizer_problems,
    with_key,
)
from qnerf.backbones.part_configs import part_config, part_shapes
from qnerf.backbones.schedule import SD_SCHEDULE, complete_schedule, schedule_problems
from qnerf.backbones.single_file import (
    OPEN_CLIP,
    TEXT,
    V_MARK,
    VAE,
    ZERO_SNR_MARK,
    controlnet_config,
    kind_of_file,
    text_config,
    unet_config,
    vae_config,
    with_article,
)
from qnerf.backbones.weight_files import Shapes, file_shapes, read_object
from qnerf.errors import UserError

Found = TypeVar("Found")


def read_model(
    place: Path, tokenizer: str | None = None, vae: str | None = None, prediction: str = "auto", spacing: str = "auto"
) -> tuple[ModelFiles | None, list[str]]:
    """The model at a place, and a sentence for each thing that is wrong with it. None where too much is missing to go on."""
    problems: list[str] = []
    vae_place = _collect("backbone.vae", problems, lambda: place_of_vae(vae)) if vae else None
    if place.is_file():
        found = _collect("backbone.model", problems, lambda: _read_file(place, tokenizer, vae_place, prediction, spacing, problems))
    else:
        found = _read_folder(place, vae_place, prediction, spacing, problems)
    if found is not None:
        problems += misfits(found)
        own = place / "vae" / "config.json"
        if vae_place is not None:
            problems += misfits_of_vae(found, read_object(own) if own.is_file() else {})
    return found, problems


def lost_parts(vae: str | None, tokenizer: str | None) -> list[str]:
    """What is wrong with the places of the parts that have settings of their own, where there is no model to read them with."""
    problems: list[str] = []
    if vae:
        _collect("backbone.vae", problems, lambda: config_of_vae(place_of_vae(vae)))
    if tokenizer:
        _collect("backbone.tokenizer", problems, lambda: tokenizer_folder(Path(tokenizer), tokenizer))
    return problems


def read_controlnet(place: Path, key: str, model: ModelFiles | None) -> tuple[NetFiles | None, list[str]]:
    """The ControlNet at a place, and a sentence for each thing that is wrong with it or does not fit the model."""
    problems: list[str] = []
    config = _collect(key, problems, lambda: _controlnet_config(place, key, model))
    if config is None:
        return None, problems
    if model is not None and not misfits(model):
        problems += misfits_of_net(place, key, config, model.unet)
    return NetFiles(place, config, key), problems


def _read_folder(place: Path, vae_place: Path | None, prediction: str, spacing: str, problems: list[str]) -> ModelFiles | None:
    if kind := _foreign_folder(place):
        problems.append(f"backbone.model: {place} is {kind}: give a model of Stable Diffusion 1.x or 2.x.")
        return None
    key, vae_key = "backbone.model", "backbone.vae" if vae_place else "backbone.model"
    vae_place = vae_place or place / "vae"
    unet, text = (_part(place / part, part, problems) for part in ("unet", "text_encoder"))
    vae = _collect(vae_key, problems, lambda: config_of_vae(vae_place))
    where = place / "scheduler" / "scheduler_config.json"
    schedule = _collect(key, problems, lambda: complete_schedule(read_object(where), prediction, spacing))
    problems += schedule_problems(f"{key}: {where}", schedule) if schedule else []
    problems += [f"{key}: {problem}" for problem in tokenizer_problems(place / "tokenizer", text)]
    if unet is None or vae is None or text is None or schedule is None:
        return None
    return ModelFiles(place, unet, vae, text, schedule, place / "tokenizer", vae_place, vae_key)


def _foreign_folder(place: Path) -> str | None:
    """What a folder is that has no model of Stable Diffusion in it, or None."""
    index, own = place / "model_index.json", place / "config.json"
    pipeline = str(read_object(index).get("_class_name") or "") if index.is_file() else ""
    if "XL" in pipeline or (place / "text_encoder_2").is_dir():
        return "SDXL, which has two text encoders and is not supported"
    if (place / "transformer").is_dir():
        return f"a model without a U-Net ({pipeline or 'such as SD 3 or Flux'})"
    if not (place / "unet").is_dir():
        if own.is_file():
            return f"one part of a model ({read_object(own).get('_class_name', 'of an unknown class')}), not a whole one"
        files = ", ".join(sorted(p.name for p in place.glob("*.safetensors"))[:3])
        hint = f" (give one of its files: {files})" if files else ""
        return f"no folder in diffusers' layout, which has unet/, vae/ and so on{hint}"
    return None


def _part(folder: Path, part: str, problems: list[str]) -> dict[str, Any] | None:
    """The config of a part whose weights are there and whole."""
    config = _collect("backbone.model", problems, lambda: part_config(folder, part))
    _collect("backbone.model", problems, lambda: part_shapes(folder, part))
    return config


def _read_file(
    place: Path, tokenizer: str | None, vae_place: Path | None, prediction: str, spacing: str, problems: list[str]
) -> ModelFiles:
    shapes = file_shapes(place)
    kind = kind_of_file(shapes)
    try:
        return _read_checkpoint(place, shapes, kind, tokenizer, vae_place, prediction, spacing, problems)
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise UserError(f"backbone.model: {place} has not the tensors of a whole model (no {error}): download it again.") from None


def _read_checkpoint(
    place: Path,
    shapes: Shapes,
    kind: str,
    tokenizer: str | None,
    vae_place: Path | None,
    prediction: str,
    spacing: str,
    problems: list[str],
) -> ModelFiles:
    if kind != "model":
        advice = {
            "controlnet": "a ControlNet: give it as backbone.controlnet",
            "lora": "a LoRA: give it in backbone.loras",
            "vae": "an autoencoder: give it as backbone.vae",
            "embedding": "a textual-inversion embedding: give it in backbone.embeddings",
            "unet": "one part of a model in diffusers' layout (a U-Net): give the folder of the whole model",
        }.get(kind, f"{with_article(kind)}, which is not supported: give Stable Diffusion 1.x or 2.x")
        raise UserError(f"backbone.model: {place} is {advice}.")
    missing = [
        name for name, start in (("text encoder", TEXT), ("autoencoder", VAE)) if not any(n.startswith(start) for n in shapes)
    ]
    missing = [name for name in missing if not (name == "autoencoder" and vae_place)]
    if missing:
        raise UserError(
            f"backbone.model: {place} has no {' and no '.join(missing)}: give a whole checkpoint"
            + (", or the autoencoder as backbone.vae." if missing == ["autoencoder"] else ".")
        )
    open_clip = f"{OPEN_CLIP}token_embedding.weight" in shapes
    if prediction == "auto":
        if open_clip and V_MARK not in shapes:
            raise UserError(
                f"backbone.model: {place} is of Stable Diffusion 2, and such a file does not say whether it "
                "predicts noise (512-pixel "
                "base models) or v (768-pixel ones): set backbone.prediction_type to epsilon or v_prediction."
            )
        prediction = "v_prediction" if V_MARK in shapes else "epsilon"
    schedule = complete_schedule({**SD_SCHEDULE, "rescale_betas_zero_snr": ZERO_SNR_MARK in shapes}, prediction, spacing)
    text = text_config(shapes)
    folder = tokenizer_folder(place, tokenizer)
    problems += [f"backbone.tokenizer: {problem}" for problem in tokenizer_problems(folder, text)]
    vae_key = "backbone.model" if vae_place is None else "backbone.vae"
    with keyed(vae_key):
        vae = vae_config(shapes) if vae_place is None else config_of_vae(vae_place)
    pad = "!" if open_clip else None
    return ModelFiles(place, unet_config(shapes), vae, text, schedule, folder, vae_place or place, vae_key, pad)


def _controlnet_config(place: Path, key: str, model: ModelFiles | None) -> dict[str, Any]:
    if place.is_file():
        shapes = file_shapes(place)
        kind = kind_of_file(shapes)
        if kind != "controlnet":
            raise UserError(f"{key}: {place} is {with_article(kind)}, not a ControlNet: give another file.")
        try:
            return controlnet_config(shapes, model.unet if model else {})
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise UserError(f"{key}: {place} has not the tensors of a whole ControlNet (no {error}): download it again.") from None
    with keyed(key):
        config = part_config(place, "controlnet")
        part_shapes(place, "controlnet")
    return config


def _collect(key: str, problems: list[str], read: Callable[[], Found]) -> Found | None:
    """What is read, or None with its error among the problems. key: the setting that it is of."""
    try:
        return read()
    except UserError as error:
        problems.append(with_key(key, str(error)))
        return None
