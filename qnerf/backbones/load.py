"""Loading a diffusion model from local files, every tensor of them accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from qnerf.backbones.decoder import LatentDecoder
from qnerf.backbones.diffusion import BackboneParts
from qnerf.backbones.schedule import complete_schedule
from qnerf.backbones.weight_files import Shapes, read_object, shapes_of, weights_of
from qnerf.errors import UserError

Part = TypeVar("Part", UNet2DConditionModel, AutoencoderKL, ControlNetModel, LatentDecoder)

_SHOWN = 3  # names in a sentence
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # of autoencoders from before 2023
_UNREAD = ("embeddings.position_ids",)  # numbers from 0 on, which older versions of transformers wrote as a tensor


def load_parts(folder: Path, controlnet: Path, dtype: str, loose: Path | None = None, decoder: Path | None = None) -> BackboneParts:
    """The parts of a model in a folder of diffusers, in `dtype`. loose: the ControlNet for bounds. decoder: what takes the place
    of the autoencoder's own. Raises UserError where one is missing or unreadable."""
    vae = load_part(AutoencoderKL, folder / "vae", dtype)
    if decoder is not None:
        vae.decoder = load_part(LatentDecoder, decoder, dtype)  # pyright: ignore[reportAttributeAccessIssue]
    return BackboneParts(
        unet=load_part(UNet2DConditionModel, folder / "unet", dtype),
        controlnet=load_part(ControlNetModel, controlnet, dtype),
        vae=vae,
        text_encoder=load_text_encoder(folder / "text_encoder", dtype),
        tokenizer=load_tokenizer(folder / "tokenizer"),
        scheduler=cast(DDIMScheduler, DDIMScheduler.from_config(_schedule(folder))),
        loose_controlnet=None if loose is None else load_part(ControlNetModel, loose, dtype),
    )


def _schedule(folder: Path) -> dict[str, Any]:
    return complete_schedule(read_object(folder / "scheduler" / "scheduler_config.json"))


def load_part(cls: type[Part], folder: Path, dtype: str) -> Part:
    """A network in a folder of diffusers: plain weights, their fp16 variant, or shards. Raises UserError where a tensor is missing,
    unexpected, or of another shape."""
    files, variant = weights_of(folder)
    config = read_object(folder / "config.json")
    _account(str(folder), expected_shapes(cls, config, str(folder)), _renamed(shapes_of(files)))
    options: dict[str, Any] = {"variant": variant, "torch_dtype": getattr(torch, dtype), "use_safetensors": True}
    options |= {"local_files_only": True, "low_cpu_mem_usage": False}  # the other way needs the accelerate package
    try:
        return cast(Part, cls.from_pretrained(str(folder), **options))
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{folder} cannot be loaded ({_first_line(error)}): download it again.") from error


def part_of_tensors(cls: type[Part], config: dict[str, Any], tensors: Mapping[str, Tensor | None], where: str, dtype: str) -> Part:
    """A network of these tensors, by diffusers' names. where: their file, for the errors."""
    found = {name: x for name, x in tensors.items() if x is not None}  # a converter's word for what it did not find
    _account(where, expected_shapes(cls, config, where), {name: tuple(x.shape) for name, x in found.items()})
    with torch.device("meta"):
        net = cls.from_config(config)
    net.load_state_dict({name: x.to(getattr(torch, dtype)) for name, x in found.items()}, strict=True, assign=True)  # pyright: ignore
    return cast(Part, net)


def load_text_encoder(folder: Path, dtype: str) -> CLIPTextModel:
    """CLIP's text model in a folder of transformers, written by any version of it: names differ between them, and an older one
    would make up the weights that it does not find. Raises UserError where a tensor is missing, unexpected or of another shape."""
    tensors = {name: x for path in _whole(weights_of(folder)[0]) for name, x in load_file(path).items()}
    config = CLIPTextConfig.from_pretrained(str(folder), local_files_only=True)
    return text_encoder_of_tensors(config, tensors, str(folder), dtype)


def _whole(files: list[Path]) -> list[Path]:
    """The files. Raises UserError for one that is not whole, or none of safetensors."""
    shapes_of(files)
    return files


def load_tokenizer(folder: Path, pad: str | None = None) -> CLIPTokenizer:
    """pad: the padding token, where not the folder's own."""
    options: Any = {} if pad is None else {"pad_token": pad}
    return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True, **options)


def text_encoder_of_tensors(config: CLIPTextConfig, tensors: Mapping[str, Tensor], where: str, dtype: str) -> CLIPTextModel:
    """CLIP's text model of these tensors, by transformers' names with or without `text_model.`."""
    with torch.random.fork_rng(devices=[]):  # a new model draws weights
        model = CLIPTextModel(config).eval()
    expected = model.state_dict()
    wrapped = any(name.startswith("text_model.") for name in expected)
    given = {("text_model." if wrapped else "") + name.removeprefix("text_model."): x for name, x in tensors.items()}
    given = {name: x for name, x in given.items() if not name.endswith(_UNREAD)}
    _account(where, {n: tuple(x.shape) for n, x in expected.items()}, {n: tuple(x.shape) for n, x in given.items()})
    model.load_state_dict(given)
    return model.to(getattr(torch, dtype))  # pyright: ignore[reportArgumentType]


def expected_shapes(cls: type[Part], config: dict[str, Any], where: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's tensors by name, as its config says. Raises UserError for a config that makes no network."""
    try:
        with torch.device("meta"):
            net: nn.Module = cls.from_config(config)  # pyright: ignore[reportAssignmentType]
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise UserError(f"{where}: its config makes no {cls.__name__} ({_first_line(error)}): download it again.") from error
    return {name: tuple(x.shape) for name, x in net.state_dict().items()}


def _account(where: str, expected: Shapes, found: Shapes) -> None:
    """Raises UserError where a file's tensors are not exactly those of the network: those that are missing would be random."""
    missing, foreign = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = sorted(
        f"{name} {_sides(found[name])} for {_sides(expected[name])}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    )
    lists = {"no": missing, "also": foreign, "of another shape": other}
    said = [f"{what} {_names(names)}" for what, names in lists.items() if names]
    if not said:
        return
    if len(missing) == len(expected):
        cause = "these are the weights of another network"
    elif other and not missing and not foreign:
        cause = "these are the weights of a model of another size"
    else:
        cause = "the file is of another model, or not whole"
    raise UserError(
        f"{where} does not have the {len(expected)} tensors that its config asks for ({'; '.join(said)}): "
        f"{cause}; download it again."
    )


def _names(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _sides(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _renamed(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """With today's names of an old autoencoder's attention, which diffusers renames in loading."""
    found = {}
    for name, shape in shapes.items():
        parts = name.split(".")
        if len(parts) > 2 and parts[-2] in _OLD_ATTENTION:
            name = ".".join([*parts[:-2], _OLD_ATTENTION[parts[-2]], parts[-1]])
        found[name] = shape
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
