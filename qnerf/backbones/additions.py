"""What users add to a Stable Diffusion model, LoRAs and textual inversions, checked by their headers. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qnerf.backbones.lora_shapes import misfits_of_lora
from qnerf.backbones.misfits import width_name
from qnerf.backbones.places import find_place
from qnerf.backbones.sd_settings import EmbeddingSettings, LoraSettings
from qnerf.backbones.single_file import kind_of_file, with_article
from qnerf.backbones.weight_files import Shapes, file_shapes, read_object
from qnerf.errors import UserError

if TYPE_CHECKING:
    from qnerf.backbones.model_parts import ModelFiles


def addition_problems(
    loras: Sequence[LoraSettings], embeddings: Sequence[EmbeddingSettings], model: ModelFiles | None
) -> list[str]:
    """What is wrong with the files that are added, a sentence each; of their headers alone."""
    problems = []
    for i, lora in enumerate(loras):
        shapes = _shapes(f"backbone.loras.{i}.path", lora.path, problems)
        if shapes is not None:
            problems += _lora_problems(f"backbone.loras.{i}.path: {lora.path}", shapes, model)
    taken = _words(model) if embeddings and model else set[str]()
    for i, embedding in enumerate(embeddings):
        key = f"backbone.embeddings.{i}"
        shapes = _shapes(f"{key}.path", embedding.path, problems)
        if shapes is None:
            continue
        widths = {shape[-1] for shape in shapes.values() if shape}
        expected = model.text.get("hidden_size") if model else None
        if len(shapes) != 1:
            problems.append(
                f"{key}.path: {embedding.path} has {len(shapes)} tensors, expected the one of a textual "
                "inversion; give another file"
            )
        elif expected is not None and widths != {expected}:
            problems.append(
                f"{key}.path: {embedding.path} has vectors of width {' and '.join(map(width_name, sorted(widths)))}, but the "
                f"model's texts have {width_name(expected)}; give one for this model"
            )
            continue
        token = embedding.token or next(iter(shapes))
        if token == "emb_params":
            problems.append(
                f"{key}.token: no value given, and {embedding.path} does not say it; set the word by which prompts name it"
            )
        elif token in taken:
            problems.append(f"{key}.token: {token} is a word that the tokenizer or another of backbone.embeddings has; set another")
        taken.add(token)
    return problems


def embedding_words(embeddings: Sequence[EmbeddingSettings]) -> dict[str, int]:
    """The words by which prompts name textual inversions, with the number of vectors of each; of the files that can be read."""
    found = {}
    for embedding in embeddings:
        for name, shape in (_shapes("", embedding.path, []) or {}).items():
            found[embedding.token or name] = shape[0] if len(shape) == 2 else 1
    return found


def _words(model: ModelFiles) -> set[str]:
    """The tokenizer's words, as far as they can be read."""
    try:
        return set(read_object(model.tokenizer / "vocab.json"))
    except UserError:
        return set()


def _shapes(key: str, name: str, problems: list[str]) -> Shapes | None:
    try:
        place = find_place(name)
        if place is None or not place.is_file():
            raise UserError(f"{name} is not a .safetensors file: give one.")
        return file_shapes(place)
    except UserError as error:
        problems.append(f"{key}: {error}")
        return None


def _lora_problems(where: str, shapes: Shapes, model: ModelFiles | None) -> list[str]:
    if kind_of_file(shapes) != "lora":
        return [f"{where} is {with_article(kind_of_file(shapes))}, not a LoRA; give another file"]
    foreign = sorted({part for name in shapes for part in ("dora_scale", "hada_w1_a", "lokr_w1", "oft_blocks") if part in name})
    if foreign:
        return [f"{where} is of a kind that is not supported ({foreign[0]}), expected LoRA's pairs of matrices; give another file"]
    context = {
        shape[-1]
        for name, shape in shapes.items()
        if "attn2" in name and "to_k" in name and name.endswith(("down.weight", "lora_A.weight"))
    }
    expected = model.unet.get("cross_attention_dim") if model else None
    if context and expected is not None and context != {expected}:
        return [
            f"{where} is made for texts of width {' and '.join(map(width_name, sorted(context)))}, but the model's have "
            f"{width_name(expected)}; give one for this model"
        ]
    if any(name.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")) for name in shapes):
        return [f"{where} changes two text encoders, as LoRAs for SDXL do; give one for this model"]
    others = misfits_of_lora(shapes, model) if model else []
    if others:
        more = f" and {len(others) - 1} more layers" if len(others) > 1 else ""
        return [f"{where} changes {others[0]}{more}, which the model has in another size; give one for this model"]
    return []
