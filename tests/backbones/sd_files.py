"""Random models and ControlNets as one file, in the layout of Stable Diffusion's first code (LDM), from diffusers' folders."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


def write_single_file(folder: Path, file: Path, **extra: Tensor) -> Path:
    """The folder's model as one file in LDM's layout; of SDXL with names of its own for what it has beyond Stable Diffusion 2."""
    tensors = {f"model.diffusion_model.{ldm_name(n)}": x for n, x in read(folder / "unet").items()}
    tensors |= {f"first_stage_model.{n}": x for n, x in ldm_vae(read(folder / "vae")).items()}
    text = {n.removeprefix("text_model."): x for n, x in read(folder / "text_encoder").items()}
    if (folder / "text_encoder_2").is_dir():
        tensors |= {f"conditioner.embedders.0.transformer.text_model.{n}": x for n, x in text.items()}
        second = {n.removeprefix("text_model."): x for n, x in read(folder / "text_encoder_2").items()}
        tensors |= {f"conditioner.embedders.1.model.{n}": x for n, x in open_clip(second).items()}
    elif "v_prediction" in (folder / "scheduler" / "scheduler_config.json").read_text():
        tensors |= {f"cond_stage_model.model.{n}": x for n, x in open_clip(text).items()}
    else:
        tensors |= {f"cond_stage_model.transformer.text_model.{n}": x for n, x in text.items()}
    save_file({name: x.clone().contiguous() for name, x in {**tensors, **extra}.items()}, file)
    return file


def write_single_controlnet(folder: Path, file: Path) -> Path:
    save_file({f"control_model.{ldm_name(n)}": x for n, x in read(folder).items()}, file)
    return file


def read(folder: Path) -> dict[str, Tensor]:
    return {name: x for path in sorted(folder.glob("*.safetensors")) for name, x in load_file(path).items()}


_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3"}
_RESNET |= {"time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}
_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
}


def ldm_name(name: str) -> str:
    """LDM's name of a U-Net's or ControlNet's tensor, from diffusers'; two residual blocks a level."""
    stem, _, end = name.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{end}"
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)", stem):
        return f"zero_convs.{match[1]}.0.{end}"
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)", stem):
        return f"input_hint_block.{2 * int(match[1]) + 2}.{end}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", stem):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{place}.{_RESNET.get(match[3], match[3])}.{end}"
    match = re.fullmatch(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", stem)
    assert match, name
    side, level, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks.{3 * level + 3}.0.op.{end}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.conv.{end}"
    block = f"input_blocks.{3 * level + layer + 1}" if side == "down" else f"output_blocks.{3 * level + layer}"
    return f"{block}.{0 if kind == 'resnets' else 1}.{_RESNET.get(rest, rest)}.{end}"


def ldm_vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, x in tensors.items():
        new = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        new = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", new)
        new = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block", new)
        new = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", new)
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", new)
        if "mid_block.attentions.0." in new:
            new = (
                new.replace("mid_block.attentions.0.", "mid.attn_1.").replace("group_norm", "norm").replace("to_out.0", "proj_out")
            )
            new = re.sub(r"to_([qkv])", r"\1", new)
            x = x[:, :, None, None] if x.dim() == 2 else x
        found[new.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")] = x
    return found


def open_clip(text: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's names, with the last layer that Stable Diffusion 2 leaves out."""
    found = {"logit_scale": torch.tensor(1.0), "text_projection": torch.zeros(text["final_layer_norm.weight"].shape[0], 8)}
    found["positional_embedding"] = text["embeddings.position_embedding.weight"]
    found["token_embedding.weight"] = text["embeddings.token_embedding.weight"]
    found |= {f"ln_final.{end}": text[f"final_layer_norm.{end}"] for end in ("weight", "bias")}
    layers = sorted({int(name.split(".")[2]) for name in text if name.startswith("encoder.layers.")})
    for layer in [*layers, layers[-1] + 1]:
        own, new = f"encoder.layers.{min(layer, layers[-1])}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            found[f"{new}attn.in_proj_{end}"] = torch.cat([text[f"{own}self_attn.{side}_proj.{end}"] for side in "qkv"])
            found[f"{new}attn.out_proj.{end}"] = text[f"{own}self_attn.out_proj.{end}"]
            for old, short in {
                "layer_norm1": "ln_1",
                "layer_norm2": "ln_2",
                "mlp.fc1": "mlp.c_fc",
                "mlp.fc2": "mlp.c_proj",
            }.items():
                found[f"{new}{short}.{end}"] = text[f"{own}{old}.{end}"]
    return found
