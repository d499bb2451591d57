"""LoRAs merged into a model's weights, and textual inversions among its tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from qnerf.backbones.diffusion import BackboneParts
from qnerf.errors import UserError

if TYPE_CHECKING:
    from qnerf.backbones.sd_settings import EmbeddingSettings, LoraSettings

_PAIR = re.compile(
    r"(?P<net>unet|text_encoder)\.(?P<path>.+?)(?:\.processor)?\.(?:(?P<head>to_q|to_k|to_v|to_out)_lora|lora_linear_layer|lora)\.down\.weight"
)
_PEFT = re.compile(r"(?P<net>unet|text_encoder)\.(?P<path>.+)\.lora_A\.weight")
_HEADS = {
    "unet": {"to_out": "to_out.0"},
    "text_encoder": {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"},
}


def add_loras(parts: BackboneParts, loras: Sequence[LoraSettings]) -> None:
    """W += scale · alpha / rank · B A for each pair of matrices (Hu et al. 2021, arXiv 2106.09685), in U-Net and text encoder.

    diffusers reads the files, in any of the usual namings; its own way of adding them needs the peft package. Raises UserError
    where a pair has no place in the model, and for kinds of matrices that are not a pair's.
    """
    for lora in loras:
        place = Path(lora.path).expanduser()
        try:
            read: Any = StableDiffusionPipeline.lora_state_dict(load_file(place))  # pyright: ignore[reportArgumentType]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"backbone.loras: {place} is not read by diffusers ({str(error).splitlines()[0]}): give another."
            ) from error
        state, alphas = read
        merged = {name for down in state for name in _merge(parts, place, state, alphas or {}, down, lora.scale)}
        if left := sorted(set(state) - merged):
            raise UserError(
                f"backbone.loras: {place} has {left[0]} and {len(left) - 1} more tensors that are no pairs: give another."
            )


def _merge(
    parts: BackboneParts, place: Path, state: dict[str, Tensor], alphas: dict[str, float], down: str, scale: float
) -> tuple[str, ...]:
    """Adds the pair of a matrix A to its layer; the names of the two, or none where this is no A."""
    match = _PAIR.fullmatch(down) or _PEFT.fullmatch(down)
    if match is None:
        return ()
    up = down.replace(".down.", ".up.") if match.re is _PAIR else down.replace(".lora_A.", ".lora_B.")
    a, b = state[down].float(), state[up].float()
    net, path, head = match["net"], match["path"], match.groupdict().get("head")
    layer = _layer(getattr(parts, net), f"{path}.{_HEADS[net].get(head, head)}" if head else path)
    change = b.flatten(1) @ a.flatten(1)
    if layer is None or change.numel() != layer.weight.numel():
        raise UserError(
            f"backbone.loras: {place} changes {net}.{path}{f'.{head}' if head else ''}, which the model does "
            "not have in this size: "
            "give a LoRA for this model."
        )
    rank = a.shape[0]
    alpha = alphas.get(f"{down}.alpha", alphas.get(f"{down.split('.lora.')[0]}.alpha", rank))
    weight = layer.weight.data
    weight.copy_(weight.float() + scale * alpha / rank * change.reshape(weight.shape))
    return down, up


def _layer(net: nn.Module, path: str) -> Any:
    """The layer at a path, with or without the wrapper that versions of transformers differ in; None: there is none."""
    for name in (path, path.removeprefix("text_model."), f"text_model.{path}"):
        try:
            return net.get_submodule(name)
        except AttributeError:
            continue
    return None


def add_embeddings(parts: BackboneParts, embeddings: Sequence[EmbeddingSettings]) -> BackboneParts:
    """The parts with textual inversions (Gal et al. 2022) among the tokens: diffusers' own loader."""
    if not embeddings:
        return parts
    pipeline: Any = StableDiffusionPipeline(
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        unet=parts.unet,
        scheduler=parts.scheduler,  # pyright: ignore[reportArgumentType]
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    for embedding in embeddings:
        try:
            pipeline.load_textual_inversion(load_file(Path(embedding.path).expanduser()), token=embedding.token)
        except ValueError as error:
            raise UserError(f"backbone.embeddings: {embedding.path} cannot be added ({error}): give another token.") from error
    return replace(parts, spell=lambda prompts: pipeline.maybe_convert_prompt(prompts, parts.tokenizer))
