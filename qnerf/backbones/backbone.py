"""What a backbone is before its weights are loaded: its settings, and what plans and checks ask of it.
Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from qnerf.scenes.settings import Drawing
from qnerf.variants import Variant

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone

GIB, MIB = 2**30, 2**20

TILE = 512
"""Pixels of a side, above which an autoencoder that works in tiles has more than one."""

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""The folders of a model in diffusers' layout."""


@dataclass(frozen=True)
class PassCosts:
    """Measured on 2 CPU cores. slowness: of a pass, beside the embedded backbone's. process: bytes of a
    process at its peak without views. view: bytes of each view in a chunk. keys: bytes of one view's
    keys and values at one step, of the layers that MasaCtrl reads. code: seconds to encode or to decode one
    view; null: slower than the embedded backbone as its passes are. queries: bytes of one view's queries of all
    decoder layers. gpu: seconds of a pass of one view on `MEASURED_GPU`; null: it was not measured. weights: bytes of the files
    that are read and hashed first, where that counts.
    """

    slowness: float
    process: float
    view: float
    keys: float
    code: float | None = None
    queries: float = 0.0
    gpu: float | None = None
    weights: float = 0.0


MEASURED_GPU = "NVIDIA H200"  # the one whose passes and fields were timed (docs/gpu.md)


def acts_in(k: int, steps: int, start: float, stop: float) -> bool:
    """Whether a ControlNet acts in step k of so many, given its share of them: in all that lie wholly within it, as diffusers
    counts (`control_guidance_start`, `control_guidance_end`)."""
    return k / steps >= start and (k + 1) / steps <= stop


@dataclass(frozen=True)
class NetControl:
    """What one of the backbone's ControlNets is given. scale: weight of its residuals. start, stop: the share of the
    denoising steps in which it acts (`acts_in`). source_images, target_images: folders of drawings of one's own, for
    `drawing="images"`. key: the setting that says so."""

    drawing: Drawing
    scale: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    source_images: str | None = None
    target_images: str | None = None
    key: str = "control"


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

    def pixels(self) -> int | tuple[int, int] | None:
        """The side of its square images, or their width and height; None where nothing on this machine can say."""
        raise NotImplementedError

    @property
    def reads_control(self) -> bool:
        """Whether it has a ControlNet."""
        return True

    def without_control(self) -> Self:
        """The same without ControlNets, for images that have no proxy: where weights are the user's, none is asked for."""
        return self

    def dtype_on(self, device: str) -> str:
        """What the model computes in on a device ("cpu", "cuda:1" …)."""
        return self.dtype

    def self_attention_layers(self) -> int:
        """How many there are; indices of recorded layers count from 0."""
        return 16  # of Stable Diffusion 1.5's topology

    def weights(self) -> Sequence[Path] | None:
        """The folders whose files are its weights, tokens and schedules; None where they are not on
        this machine (yet)."""
        raise NotImplementedError

    def controls(self, drawing: Drawing, scale: float, images: tuple[str | None, str | None]) -> tuple[NetControl, ...]:
        """What each ControlNet is given, where the settings ask for a drawing of the proxy and a scale. images: folders of drawings
        of one's own, before and after the edit."""
        return (NetControl("joints" if drawing == "auto" else drawing, scale, 0.0, 1.0, *images),)

    def problems(self, prompts: Sequence[str], drawing: Drawing) -> list[str]:
        """What is wrong with its files, and does not fit the prompts and the control, a sentence each: read from JSON and headers,
        before anything is loaded."""
        return self.control_problems(drawing)

    def control_problems(self, drawing: Drawing) -> list[str]:
        """Why its ControlNets cannot read a drawing, a sentence each."""
        return []

    def costs(self, width: int, height: int, device: str = "cpu") -> PassCosts:
        """What a pass of one view of so many pixels takes. device: whose dtype counts for memory; time is that of 2 CPU cores."""
        raise NotImplementedError

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        """The model on `device`, frozen. Raises UserError where its weights are missing or
        unreadable."""
        raise NotImplementedError
