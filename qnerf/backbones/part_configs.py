"""The configs of a model's parts: whether each is of the network that its folder is named for, and whether what is read of it
before loading is of the right type. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qnerf.backbones.weight_files import Shapes, read_object, shapes_of, weights_of
from qnerf.errors import UserError

Check = tuple[str, Callable[[Any], bool]]
"""What is expected, in words, and whether a value is that."""


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


COUNT: Check = ("a whole number above 0", is_count)
COUNTS: Check = ("a list of whole numbers", lambda v: isinstance(v, list) and bool(v) and all(map(is_count, v)))
NUMBER: Check = ("a number", is_number)
NUMBER_OR_NULL: Check = ("a number or null", lambda v: v is None or is_number(v))

_CALLED = {"UNet2DConditionModel": "a U-Net", "AutoencoderKL": "an autoencoder", "ControlNetModel": "a ControlNet"}
CLASSES = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "controlnet": "ControlNetModel"}
_MARKS = {
    "unet": ("conv_norm_out.weight",),
    "vae": ("decoder.conv_in.weight",),
    "controlnet": ("controlnet_mid_block.weight",),
    "text_encoder": ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"),
}
"""A tensor that no other part has, by its names."""

_NEEDED = {"unet": ("cross_attention_dim", "block_out_channels"), "text_encoder": ("hidden_size",)}
"""Keys whose defaults in diffusers and transformers are no Stable Diffusion's."""
_TYPES: dict[str, Mapping[str, Check]] = {
    "unet": {
        "cross_attention_dim": COUNT,
        "block_out_channels": COUNTS,
        "in_channels": COUNT,
        "layers_per_block": COUNT,
        "attention_head_dim": ("a whole number or a list of them", lambda v: COUNT[1](v) or COUNTS[1](v)),
    },
    "vae": {
        "block_out_channels": COUNTS,
        "latent_channels": COUNT,
        "layers_per_block": COUNT,
        "scaling_factor": NUMBER,
        "shift_factor": NUMBER_OR_NULL,
    },
    "text_encoder": {
        "hidden_size": COUNT,
        "num_hidden_layers": COUNT,
        "max_position_embeddings": COUNT,
        "vocab_size": COUNT,
    },
}
_TYPES["controlnet"] = _TYPES["unet"]


def part_config(folder: Path, part: str) -> dict[str, Any]:
    """The config of a part, one of `_MARKS`, in a folder of diffusers or transformers. Raises UserError where it is another
    network's, or a value is missing or of another type."""
    path = folder / "config.json"
    if not path.is_file() and (folder / "unet").is_dir():
        own = folder / part
        inside = f", which is {own}" if own.is_dir() else ""
        raise UserError(f"{folder} is a whole model, not {_called(part)}: give the folder of that part alone{inside}.")
    config = read_object(path)
    found = config.get("_class_name", CLASSES.get(part))
    if found != CLASSES.get(part):
        called = _CALLED.get(str(found), f"a {found}")
        raise UserError(f"{folder} is {called}, not {_called(part)}: give {_called(part)}'s folder, or download it again.")
    if missing := [key for key in _NEEDED.get(part, ()) if key not in config]:
        raise UserError(f"{path} has no {' and no '.join(missing)}: download it again.")
    if wrong := mistyped(config, _TYPES[part]):
        raise UserError(f"{path} has {wrong}: download it again.")
    return config


def part_shapes(folder: Path, part: str) -> Shapes:
    """The shapes of a part's tensors. Raises UserError where files are missing or not whole, and where they are another
    network's."""
    shapes = shapes_of(weights_of(folder)[0])
    if not any(name in shapes for name in _MARKS[part]):
        raise UserError(f"the weights in {folder} are those of another network, not of {_called(part)}: download it again.")
    return shapes


def mistyped(config: Mapping[str, Any], types: Mapping[str, Check]) -> str:
    """`key = value, expected …` of every value that is there and is not what it should be; "" where all are."""
    given = [(key, config[key], *check) for key, check in types.items() if key in config]
    return "; ".join(f"{key} = {value!r}, expected {expected}" for key, value, expected, holds in given if not holds(value))


def _called(part: str) -> str:
    return _CALLED[CLASSES[part]] if part in CLASSES else "a text encoder"
