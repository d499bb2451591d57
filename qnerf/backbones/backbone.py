"""What a backbone is before its weights are loaded: its settings, and what plans and checks ask of it.
Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qnerf.variants import Variant

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone

GIB, MIB = 2**30, 2**20

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""The folders of a model in diffusers' layout."""


@dataclass(frozen=True)
class PassCosts:
    """Measured on 2 CPU cores. slowness: of a pass, beside the embedded backbone's. process: bytes of a
    process at its peak without views. view: bytes of each view in a chunk. keys: bytes of one view's
    keys and values at one step, of the layers that MasaCtrl reads.
    """

    slowness: float
    process: float
    view: float
    keys: float


Acceleration = Literal["auto", "none", "graph", "compile"]
"""How passes are run. none: operation by operation. graph: replayed from CUDA graphs. compile: through torch.compile. auto: on a
CUDA GPU the faster of the first two, timed on the first passes; elsewhere as none."""


class BackboneSettings(Variant):
    """dtype: what the model computes in. channels_last: store convolution weights and images
    channels-last: faster on CPU and GPU, equal up to rounding. acceleration: how passes are run, for
    speed alone.
    """

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    channels_last: bool = True
    acceleration: Acceleration = "auto"

    @property
    def own_world(self) -> bool:
        """Whether it only knows the procedural world, so that photographs and other words are foreign
        to it."""
        return False

    @property
    def downsampling(self) -> int:
        """Pixels per latent, along a side."""
        return 8

    def pixels(self) -> int | None:
        """The side of its images, or None where nothing on this machine can say."""
        raise NotImplementedError

    def self_attention_layers(self) -> int:
        """How many there are; indices of recorded layers count from 0."""
        return 16  # of Stable Diffusion 1.5's topology

    def weights(self) -> Sequence[Path] | None:
        """The folders whose files are its weights, tokens and schedules; None where they are not on
        this machine (yet)."""
        raise NotImplementedError

    def costs(self, pixels: int) -> PassCosts:
        """What a pass of one view of so many pixels a side takes."""
        raise NotImplementedError

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        """The model on `device`, frozen. Raises UserError where its weights are missing or
        unreadable."""
        raise NotImplementedError
