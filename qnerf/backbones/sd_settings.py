"""Settings of what goes with a Stable Diffusion model: its ControlNets, LoRAs and textual inversions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from qnerf.backbones.kinds import Kind
from qnerf.settings import Settings

Share = Annotated[float, Field(ge=0, le=1)]


class NetSettings(Settings):
    """What the ControlNet is given. kind: what it was trained on; auto: as its name says. start, stop: the share of the denoising
    steps in which it acts."""

    kind: Kind = "auto"
    start: Share = 0.0
    stop: Share = 1.0

    @model_validator(mode="after")
    def _acts(self) -> Self:
        if self.start >= self.stop:
            raise ValueError(f"start: got {self.start:g}, and stop {self.stop:g}; expected start before stop, or it never acts")
        return self


class FurtherNetSettings(NetSettings):
    """A further ControlNet. scale: weight of its residuals. source_images, target_images: folders of drawings of one's own."""

    controlnet: str = Field(min_length=1)
    revision: str | None = None
    scale: float = Field(default=1.0, ge=0, le=2)
    source_images: str | None = None
    target_images: str | None = None


class LoraSettings(Settings):
    """path: a .safetensors file. scale: weight of its changes."""

    path: str = Field(min_length=1)
    scale: float = Field(default=1.0, ge=-4, le=4)


class EmbeddingSettings(Settings):
    """A textual inversion. path: a .safetensors file. token: how prompts name it; null: as the file says."""

    path: str = Field(min_length=1)
    token: str | None = None
