"""Random models of Stable Diffusion's shapes with few channels, in every form that people have on their disks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from qnerf.backbones.architecture import END, START, clip_merges, clip_vocabulary

WORDS = ("a", "red", "fox", "with", "tall", "ears", "in", "the", "snow", "!")
TOKENS = 16
LEVELS = (32, 64, 64, 64)  # 32 is the least that 32 groups of channels divide
SD_SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}  # stable-diffusion-v1-5's file


@dataclass(frozen=True)
class Shape:
    """What tells the versions apart. heads: diffusers' `attention_head_dim`."""

    text: int
    heads: Any
    linear: bool
    activation: str
    prediction: str


SD15 = Shape(64, 8, False, "quick_gelu", "epsilon")
SD21 = Shape(128, [1, 1, 1, 1], True, "gelu", "v_prediction")


def build_unet(shape: Shape, channels: int = 4) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=LEVELS,
        layers_per_block=2,
        cross_attention_dim=shape.text,
        attention_head_dim=shape.heads,
        use_linear_projection=shape.linear,
    )


def build_controlnet(unet: UNet2DConditionModel) -> ControlNetModel:
    """One that does respond: its last convolutions are not zero."""
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8, 8))  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for layer in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
            torch.nn.init.normal_(layer.weight, std=0.3)  # pyright: ignore[reportArgumentType]
    return net


def build_text_encoder(shape: Shape) -> CLIPTextModel:
    vocabulary = clip_vocabulary(WORDS)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=shape.text,
            intermediate_size=2 * shape.text,
            num_hidden_layers=3,
            num_attention_heads=max(1, shape.text // 64),
            max_position_embeddings=TOKENS,
            hidden_act=shape.activation,
            projection_dim=shape.text,
            bos_token_id=vocabulary[START],
            eos_token_id=vocabulary[END],
            pad_token_id=vocabulary[END],
            initializer_factor=8.0,
        )
    )


def write_tokenizer(folder: Path, pad: str = END) -> None:
    """As Stable Diffusion's folders have it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(clip_vocabulary(WORDS)), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *clip_merges(WORDS)]) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
    config = {"model_max_length": TOKENS, "tokenizer_class": "CLIPTokenizer", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def build_folder(folder: Path, shape: Shape = SD15, seed: int = 0, half: bool = False, sharded: bool = False) -> Path:
    """A model in diffusers' layout, and its ControlNet in `<folder>_controlnet`. half: as `variant=fp16` alone."""
    torch.manual_seed(seed)
    unet, text = build_unet(shape), build_text_encoder(shape)
    vae = AutoencoderKL(
        sample_size=64,
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
    )
    how: dict[str, Any] = {"safe_serialization": True, "variant": "fp16" if half else None}
    how |= {"max_shard_size": "1MB"} if sharded else {}
    for name, part in {"unet": unet, "vae": vae, "text_encoder": text}.items():
        part = part.half() if half else part  # pyright: ignore[reportAttributeAccessIssue]
        part.save_pretrained(folder / name, **how)
        if half and name == "text_encoder" and (folder / name / "model.safetensors").exists():
            (folder / name / "model.safetensors").rename(folder / name / "model.fp16.safetensors")
    net = build_controlnet(unet.float())
    (net.half() if half else net).save_pretrained(folder.with_name(folder.name + "_controlnet"), **how)
    write_tokenizer(folder / "tokenizer", pad=END if shape is SD15 else "!")
    set_scheduler(folder, prediction_type=shape.prediction)
    return folder


def controlnet_of(folder: Path) -> Path:
    return folder.with_name(folder.name + "_controlnet")


def set_scheduler(folder: Path, **changes: Any) -> None:
    """The scheduler's file of Stable Diffusion 1.5, with changes; a key that is None is left out."""
    document = {key: value for key, value in {**SD_SCHEDULER, **changes}.items() if value is not None or key == "trained_betas"}
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(document), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def write_single_file(folder: Path, file: Path, **extra: Tensor) -> Path:
    """The folder's model as one file in LDM's layout."""
    tensors = {f"model.diffusion_model.{ldm_name(n)}": x for n, x in read(folder / "unet").items()}
    tensors |= {f"first_stage_model.{n}": x for n, x in ldm_vae(read(folder / "vae")).items()}
    text = {n.removeprefix("text_model."): x for n, x in read(folder / "text_encoder").items()}
    if "v_prediction" in (folder / "scheduler" / "scheduler_config.json").read_text():
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


class Theirs:
    """diffusers' own pipeline with DDIM: the latents after each of five guided steps."""

    def __init__(self, folder: Path, nets: list[Path], dtype: torch.dtype = torch.float32) -> None:
        how: dict[str, Any] = {"low_cpu_mem_usage": False, "torch_dtype": dtype}
        parts: dict[str, Any] = {
            "vae": AutoencoderKL.from_pretrained(folder / "vae", **how),
            "text_encoder": CLIPTextModel.from_pretrained(str(folder / "text_encoder"), dtype=dtype),
            "tokenizer": CLIPTokenizer.from_pretrained(str(folder / "tokenizer")),
            "unet": UNet2DConditionModel.from_pretrained(folder / "unet", **how),
            "controlnet": [ControlNetModel.from_pretrained(net, **how) for net in nets],
            "scheduler": DDIMScheduler.from_pretrained(folder / "scheduler"),
        }
        without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        self.pipeline: Any = StableDiffusionControlNetPipeline(**parts, **without)
        self.pipeline.set_progress_bar_config(disable=True)
        self.dtype = dtype

    def __call__(self, prompt: str | None, z: Tensor, drawings: list[Tensor], scales: list[float], **more: Any) -> list[Tensor]:
        seen: list[Tensor] = []

        def keep(pipeline: Any, step: int, t: Any, found: dict[str, Tensor]) -> dict[str, Tensor]:
            seen.append(found["latents"].float().clone())
            return found

        size = {"height": 8 * z.shape[2], "width": 8 * z.shape[3]}
        scale = {"controlnet_conditioning_scale": scales, "guidance_scale": 7.5, "num_inference_steps": 5}
        how = {"latents": z.to(self.dtype), "output_type": "latent", "callback_on_step_end": keep}
        self.pipeline(prompt, drawings, **how, **scale, **size, **more)
        return seen
