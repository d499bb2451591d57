"""Stable Diffusion 1.5 and a ControlNet for it, from local folders or the Hugging Face hub's cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.backbones.backbone import GIB, MIB, PARTS, BackboneSettings, PassCosts

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone

SLOWER = 550.0
"""A pass at 512 pixels on 2 CPU cores takes 15 to 18 s in float32, the embedded model's .030 s."""


class Sd15Settings(BackboneSettings):
    """model: hub id, or a folder in diffusers' layout. controlnet: hub id or folder of the ControlNet.
    download: fetch missing weights from the hub; otherwise only folders and the local cache of the hub
    are used. image_size: height and width of the images, pixels.
    """

    name: Literal["sd15"] = "sd15"
    model: str = Field(default="stable-diffusion-v1-5/stable-diffusion-v1-5", min_length=1)
    controlnet: str = Field(default="lllyasviel/control_v11p_sd15_openpose", min_length=1)
    download: bool = False
    dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    image_size: int = Field(default=512, ge=64, multiple_of=64)

    def pixels(self) -> int:
        return self.image_size

    def weights(self) -> list[Path] | None:
        model, net = (_folder(name) for name in (self.model, self.controlnet))
        return None if model is None or net is None else [*(model / part for part in PARTS), net]

    def costs(self, pixels: int) -> PassCosts:
        return PassCosts(slowness=SLOWER * (pixels / 512) ** 2, process=8 * GIB, view=3 * GIB, keys=23 * MIB)

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        from qnerf.backbones.diffusion import DiffusionBackbone
        from qnerf.backbones.load import load_parts
        from qnerf.backbones.revision import weights_revision

        parts = load_parts(self.model, self.controlnet, None, self.dtype, self.download)
        size = (self.image_size, self.image_size)
        return DiffusionBackbone(parts, size, weights_revision(self) or "unknown", device, self.channels_last, self.acceleration)


def _folder(name: str) -> Path | None:
    """The folder of a model: itself, or the snapshot in the hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download  # half a second, and only those who name a model by its id pay
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
