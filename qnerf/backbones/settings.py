"""Typed settings of the diffusion models: the embedded one and Stable Diffusion 1.5."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings

PUPPET_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "puppet"


class PuppetSettings(Settings):
    """The embedded model, trained on the puppet world (`python -m qnerf.pretrain`); its weights travel with the package."""

    name: Literal["puppet"] = "puppet"
    path: str | None = None
    """Folder in diffusers' layout with a `controlnet` folder in it; null takes the weights inside the package."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    """Store convolution weights and images channels-last: faster on CPU, equal up to rounding."""


class Sd15Settings(Settings):
    """Stable Diffusion 1.5 and a ControlNet for it, from local folders or the Hugging Face hub's cache."""

    name: Literal["sd15"] = "sd15"
    model: str = Field(default="stable-diffusion-v1-5/stable-diffusion-v1-5", min_length=1)
    """Hub id, or a folder in diffusers' layout."""
    controlnet: str = Field(default="lllyasviel/control_v11p_sd15_openpose", min_length=1)
    """Hub id or folder of the ControlNet."""
    download: bool = False
    """Fetch missing weights from the hub; otherwise only folders and the hub's local cache are looked at."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float16"
    image_size: int = Field(default=512, ge=64, multiple_of=64)
    """Height and width of the images, pixels."""
    channels_last: bool = True


BackboneSettings = Annotated[PuppetSettings | Sd15Settings, Field(discriminator="name")]
