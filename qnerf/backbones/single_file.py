"""Models in one `.safetensors` file, in the layout of Stable Diffusion's first code (LDM): what kind each is, and the configs that
diffusers needs, read off the shapes of its tensors. Needs no torch."""

from __future__ import annotations

import re
from typing import Any

from qnerf.backbones.weight_files import Shapes

UNET, VAE, TEXT, CONTROL = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "control_model."
CLIP, OPEN_CLIP = TEXT + "transformer.", TEXT + "model."
V_MARK, ZERO_SNR_MARK = "v_pred", "ztsnr"  # empty tensors by which makers of checkpoints say how they were trained
_LORA = re.compile(r"\.lora_[AB]\.|_lora\.(down|up)\.|\.lora_linear_layer\.|\.lora\.(down|up)\.|\.lora_(down|up)\.")
WIDTHS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 2048: "SDXL"}
"""Models by the width of their texts."""


def kind_of_file(shapes: Shapes) -> str:
    """What a file is: "model", "controlnet", "vae", "lora", "embedding", "unet" (in diffusers' layout), or a sentence's "SDXL
    checkpoint" and so on, for what is not read."""
    names = set(shapes)

    def has(*starts: str) -> bool:
        return any(name.startswith(starts) for name in names)

    for starts, kind in _KINDS:
        if has(*starts):
            return kind
    if any(_LORA.search(name) for name in names):
        return "lora"
    if len(shapes) == 1 and [len(shape) for shape in shapes.values()] in ([1], [2]):
        return "embedding"  # by the word that prompts name it by
    return "file of an unknown kind"


def with_article(kind: str) -> str:
    """A kind of file with its article."""
    return {"lora": "a LoRA", "vae": "an autoencoder", "unet": "a U-Net", "controlnet": "a ControlNet"}.get(
        kind, f"a{'n' if kind[:1] in 'AEIOSe' else ''} {kind}"
    )


_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("conditioner.embedders.", UNET + "label_emb."), "SDXL checkpoint"),
    ((UNET + "joint_blocks.", UNET + "double_blocks.", "joint_blocks.", "double_blocks."), "SD 3 or Flux checkpoint"),
    (("lora_unet_", "lora_te"), "lora"),
    ((CONTROL + "zero_convs.", "zero_convs.", "controlnet_cond_embedding."), "controlnet"),
    (("adapter.body.", "body.0."), "T2I-Adapter"),
    ((UNET + "input_blocks.",), "model"),
    (("down_blocks.0.attentions.", "down_blocks.0.resnets.0.time_emb_proj."), "unet"),
    ((VAE + "decoder.", "decoder.conv_in."), "vae"),
)


def unet_config(shapes: Shapes, prefix: str = UNET) -> dict[str, Any]:
    """Of a `UNet2DConditionModel`, or with the prefix of a ControlNet's tensors of a `ControlNetModel`."""
    widths, layers = _level_widths(shapes, prefix)
    projection = next(
        s for name, s in shapes.items() if re.fullmatch(re.escape(prefix) + r"input_blocks\.\d+\.1\.proj_in\.weight", name)
    )
    linear = len(projection) == 2
    context = next(shape[1] for name, shape in shapes.items() if name.startswith(prefix) and name.endswith("attn2.to_k.weight"))
    attended = [f"{prefix}input_blocks.{1 + level * (layers + 1)}.1.norm.weight" in shapes for level in range(len(widths))]
    return {
        "in_channels": shapes[f"{prefix}input_blocks.0.0.weight"][1],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "cross_attention_dim": context,
        "use_linear_projection": linear,
        "attention_head_dim": [max(1, width // 64) for width in widths] if linear else 8,  # of SD 2 and of SD 1
        "down_block_types": ["CrossAttnDownBlock2D" if there else "DownBlock2D" for there in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if there else "UpBlock2D" for there in reversed(attended)],
    }


def _level_widths(shapes: Shapes, prefix: str) -> tuple[list[int], int]:
    """Channels of each level of a U-Net's encoder, and its residual blocks a level."""
    widths, blocks = [], 0
    while (convolution := shapes.get(f"{prefix}input_blocks.{blocks + 1}.0.out_layers.3.weight")) or (
        f"{prefix}input_blocks.{blocks + 1}.0.op.weight" in shapes
    ):
        blocks += 1
        widths.append(convolution[0] if convolution else None)
    layers = widths.index(None) if None in widths else len(widths)
    return [width for width in widths[:: layers + 1] if width is not None], layers


def controlnet_prefix(shapes: Shapes) -> str | None:
    """What LDM's names of a ControlNet's tensors begin with; None: they are diffusers' names."""
    if "controlnet_cond_embedding.conv_in.weight" in shapes:
        return None
    return CONTROL if f"{CONTROL}input_blocks.0.0.weight" in shapes else ""


def controlnet_config(shapes: Shapes, unet: dict[str, Any]) -> dict[str, Any]:
    """Of a `ControlNetModel`. unet: the config of its U-Net, which says what shapes do not, for a file with
    diffusers' names."""
    prefix = controlnet_prefix(shapes)
    if prefix is None:
        base = {key: unet[key] for key in _SHARED if key in unet}
        base["cross_attention_dim"] = next(s[1] for name, s in shapes.items() if name.endswith("attn2.to_k.weight"))
        base["in_channels"] = shapes["conv_in.weight"][1]
        hints = _ordered(shapes, r"controlnet_cond_embedding\.blocks\.(\d+)\.weight")
        first = shapes["controlnet_cond_embedding.conv_in.weight"]
    else:
        base = unet_config(shapes, prefix)
        base.pop("up_block_types")
        hints = _ordered(shapes, re.escape(prefix) + r"input_hint_block\.(\d+)\.weight")[1:-1]
        first = shapes[f"{prefix}input_hint_block.0.weight"]
    base["conditioning_channels"] = first[1]
    base["conditioning_embedding_out_channels"] = [first[0], *(shape[0] for shape in hints[1::2])]
    return base


_SHARED = (
    "block_out_channels",
    "layers_per_block",
    "use_linear_projection",
    "attention_head_dim",
    "down_block_types",
    "norm_num_groups",
)


def _ordered(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    found = [(int(match[1]), shape) for name, shape in shapes.items() if (match := re.fullmatch(pattern, name))]
    return [shape for _, shape in sorted(found)]


def vae_config(shapes: Shapes) -> dict[str, Any]:
    """Of an `AutoencoderKL`, from a whole model's file or its own."""
    prefix = VAE if f"{VAE}encoder.conv_in.weight" in shapes else ""
    pattern = re.escape(prefix) + r"encoder\.down\.(\d+)\.block\.0\.conv1\.weight"
    widths = [shape[0] for shape in _ordered(shapes, pattern)]
    layers = len(_ordered(shapes, re.escape(prefix) + r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight"))
    return {
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": shapes[f"{prefix}decoder.conv_in.weight"][1],
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "scaling_factor": 0.18215,
    }


def text_config(shapes: Shapes) -> dict[str, Any]:
    """Of a `CLIPTextModel`: CLIP's text model of SD 1, or OpenCLIP's of SD 2, of which the last layer is left out."""
    if f"{OPEN_CLIP}token_embedding.weight" in shapes:
        blocks = f"{OPEN_CLIP}transformer.resblocks."
        layers = len({name.split(".")[4] for name in shapes if name.startswith(blocks)}) - 1
        tokens, positions = shapes[f"{OPEN_CLIP}token_embedding.weight"], shapes[f"{OPEN_CLIP}positional_embedding"]
        wide, act = shapes[f"{blocks}0.mlp.c_fc.weight"][0], "gelu"
    else:
        root = f"{CLIP}text_model." if f"{CLIP}text_model.embeddings.token_embedding.weight" in shapes else CLIP
        layers = len({name.removeprefix(root).split(".")[2] for name in shapes if name.startswith(f"{root}encoder.layers.")})
        tokens = shapes[f"{root}embeddings.token_embedding.weight"]
        positions = shapes[f"{root}embeddings.position_embedding.weight"]
        wide, act = shapes[f"{root}encoder.layers.0.mlp.fc1.weight"][0], "quick_gelu"
    return {
        "vocab_size": tokens[0],
        "hidden_size": tokens[1],
        "intermediate_size": wide,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, tokens[1] // 64),
        "max_position_embeddings": positions[0],
        "hidden_act": act,
        "projection_dim": tokens[1],
        "bos_token_id": tokens[0] - 2,
        "eos_token_id": tokens[0] - 1,
        "pad_token_id": tokens[0] - 1,
    }
