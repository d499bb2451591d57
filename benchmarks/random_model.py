"""Models with random weights, written as Stable Diffusion 1.5 is: what a run costs does not depend on what it paints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from qnerf.backbones.architecture import TINY, PuppetWidths, build_puppet

WIDTHS = {
    "sd15": PuppetWidths(
        image=512, unet=(320, 640, 1280, 1280), heads=(8, 8, 8, 8), groups=32, control=(16, 32, 96, 256),
        vae=(128, 256, 512, 512), text=768, text_layers=12, tokens=77,
    ),  # the autoencoder has one residual block a level and no attention where Stable Diffusion's has two and one
    "half": PuppetWidths(
        image=128, unet=(160, 320, 640, 640), heads=(8, 8, 8, 8), groups=32, control=(16, 32, 96, 256),
        vae=(64, 128, 256, 256), text=768, text_layers=4, tokens=77,
    ),
    "tiny": replace(TINY, image=64),
}  # fmt: skip


def write_random_model(folder: Path, size: str) -> list[str]:
    """A folder in diffusers' layout, with a ControlNet in it, and the overrides of a run that name it. size: of `WIDTHS`."""
    parts = replace(build_puppet(0, WIDTHS[size]), loose_controlnet=None)
    dtype = torch.float16 if torch.cuda.is_available() else torch.float32
    for name in ("unet", "vae", "text_encoder", "controlnet"):
        model = torch.nn.Module.to(getattr(parts, name), dtype)
        model.save_pretrained(folder / name)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    parts.tokenizer.save_pretrained(str(folder / "tokenizer"))
    parts.scheduler.save_pretrained(str(folder / "scheduler"))
    own = {
        "model": folder,
        "controlnet": folder / "controlnet",
        "control.kind": "puppet",
        "image_size": WIDTHS[size].image,
        "dtype": str(dtype).split(".")[1],
    }
    return ["backbone=sd15", *(f"backbone.{key}={value}" for key, value in own.items())]
