"""Random models of Stable Diffusion's shapes with few channels, in every form that people have on their disks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionControlNetPipeline, UNet2DConditionModel
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
    channels: int = 4
    two_texts: bool = False


SD15 = Shape(64, 8, False, "quick_gelu", "epsilon")
SD21 = Shape(128, [1, 1, 1, 1], True, "gelu", "v_prediction")
INPAINTING = Shape(64, 8, False, "quick_gelu", "epsilon", channels=9)
SDXL = Shape(192, [1, 1, 1], True, "quick_gelu", "epsilon", two_texts=True)  # two encoders' states side by side
XL_UNET: dict[str, Any] = {
    "block_out_channels": LEVELS[:3],
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 64,
}


def build_unet(shape: Shape) -> UNet2DConditionModel:
    own: dict[str, Any] = XL_UNET if shape.two_texts else {"block_out_channels": LEVELS}
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=shape.channels,
        layers_per_block=2,
        cross_attention_dim=shape.text,
        attention_head_dim=shape.heads,
        use_linear_projection=shape.linear,
        **own,
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
    unet, text = build_unet(shape), build_text_encoder(SD15 if shape.two_texts else shape)
    vae = AutoencoderKL(
        sample_size=64,
        scaling_factor=0.13025 if shape.two_texts else 0.18215,
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * 4,  # pyright: ignore[reportArgumentType]
    )
    how: dict[str, Any] = {"safe_serialization": True, "variant": "fp16" if half else None}
    how |= {"max_shard_size": "1MB"} if sharded else {}
    parts = {"unet": unet, "vae": vae, "text_encoder": text}
    if shape.two_texts:
        parts["text_encoder_2"] = build_text_encoder(SD21)
        folder.mkdir(parents=True)
        (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}), encoding="utf-8")
    for name, part in parts.items():
        part = part.half() if half else part  # pyright: ignore[reportAttributeAccessIssue]
        part.save_pretrained(folder / name, **how)
        if half and name.startswith("text_encoder") and (folder / name / "model.safetensors").exists():
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
