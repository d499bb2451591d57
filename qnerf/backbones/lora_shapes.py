"""Which layers a LoRA changes, by its header, and which of them the model has in another size. Needs no torch."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from qnerf.backbones.weight_files import Shapes, shapes_of, weights_of
from qnerf.errors import UserError

if TYPE_CHECKING:
    from qnerf.backbones.model_parts import ModelFiles

_DOWN = re.compile(
    r"(?:lora_)?(?P<net>unet|te|text_encoder)[._](?P<path>.+?)(?:\.processor)?"
    r"\.(?:(?P<head>to_q|to_k|to_v|to_out)_lora\.down|lora_linear_layer\.down|lora\.down|lora_down|lora_A)\.weight"
)
"""The matrix A of a pair, in diffusers', peft's or kohya's naming, of which the last has underscores for dots."""
_HEADS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}  # of a text encoder


def misfits_of_lora(shapes: Shapes, model: ModelFiles) -> list[str]:
    """The layers of a model in a folder that the pairs of a LoRA do not fit, by their flat names. Layers that the model does not
    have are left to loading, which knows more namings, and so is a model in one file, whose names are LDM's."""
    if not model.place.is_dir():
        return []
    try:
        layers = {
            f"{part}_{_flat(name.removesuffix('.weight'))}": math.prod(shape)
            for part in ("unet", "text_encoder")
            for name, shape in shapes_of(weights_of(model.place / part)[0]).items()
        }
    except UserError:
        return []  # told of the model
    found = []
    for name, a in shapes.items():
        match = _DOWN.fullmatch(name)
        up = shapes.get(name.replace("down.weight", "up.weight").replace("lora_A", "lora_B"))
        if match is None or up is None:
            continue
        net, path, head = "unet" if match["net"] == "unet" else "text_encoder", _flat(match["path"]), match["head"]
        if head:
            path += "_" + (_HEADS[head] if net == "text_encoder" else "to_out_0" if head == "to_out" else head)
        layer = f"{net}_{path}"
        if layer in layers and layers[layer] != up[0] * math.prod(a[1:]):
            found.append(layer)
    return sorted(found)


def _flat(path: str) -> str:
    """A layer's path as kohya writes it, without the wrapper that versions of transformers differ in."""
    return path.replace(".", "_").removeprefix("text_model_")
