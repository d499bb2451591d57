"""Latent diffusion models behind one small interface: the embedded model and Stable Diffusion 1.5."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from qnerf.attention.hooks import Batch, Edits, bound
from qnerf.attention.layers import AttentionLayer, cross_attention_layers, self_attention_layers
from qnerf.backbones.acceleration import AcceleratedPasses, PassInputs, accelerate
from qnerf.backbones.backbone import TILE, Acceleration
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.process import DiscreteProcess
from qnerf.backbones.tokens import too_long
from qnerf.devices import HOST
from qnerf.errors import UserError
from qnerf.scenes.settings import Detail, Drawing

log = logging.getLogger(__name__)

LOOSE_DETAILS: tuple[Detail, ...] = ("loose_depth", "box")  # bounds rather than drawings of the pose: a ControlNet of their own


@dataclass(frozen=True)
class BackboneParts:
    """The parts of a Stable Diffusion model with a ControlNet or without, as diffusers builds and saves them.

    loose_controlnet: the ControlNet of `LOOSE_DETAILS`; where there is none, `controlnet` takes every
    control. more_controlnets: further ones, which act beside it. spell: prompts as the tokenizer takes
    them, where textual inversions are of several tokens.
    """

    unet: UNet2DConditionModel
    controlnet: ControlNetModel | None
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    loose_controlnet: ControlNetModel | None = None
    more_controlnets: tuple[ControlNetModel, ...] = ()
    spell: Callable[[list[str]], list[str]] | None = None


class DiffusionBackbone:
    """A frozen text- and control-conditioned noise predictor on the latents of an autoencoder.

    image_size: (height, width) of its images in pixels. layers, cross_attention_layers: its attention
    layers. revision: hash of its weights, for caches. clip_skip: how many of the text encoder's last layers
    are left out. All tensors that go in and out are float32 on
    `device`; the model computes in the dtype of its weights.
    """

    def __init__(
        self,
        parts: BackboneParts,
        image_size: tuple[int, int],
        revision: str,
        device: torch.device | str = "cpu",
        channels_last: bool = True,
        acceleration: Acceleration = "none",
        clip_skip: int = 0,
    ) -> None:
        self.parts, self.controlnets = parts, _nets(parts.controlnet, parts)
        self.clip_skip = clip_skip
        self.unet, self.vae = parts.unet, parts.vae
        self.text_encoder, self.tokenizer, self.scheduler = parts.text_encoder, parts.tokenizer, parts.scheduler
        self.image_size = image_size
        self.revision = revision
        self.device = torch.device(device)
        self.passes: AcceleratedPasses | None = accelerate(acceleration, self.device)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        nets = [net for net in (*self.controlnets, parts.loose_controlnet) if net is not None]
        for model in (self.unet, *nets, self.vae, self.text_encoder):
            model.to(device=self.device).eval().requires_grad_(False)  # pyright: ignore[reportCallIssue]
        for model in (self.unet, *nets, self.vae):
            model.to(memory_format=self.memory_format)  # pyright: ignore[reportCallIssue]
        self.layers: tuple[AttentionLayer, ...] = self_attention_layers(self.unet)
        self.cross_attention_layers: tuple[AttentionLayer, ...] = cross_attention_layers(self.unet)
        self.process = DiscreteProcess(self.scheduler.config)
        self.latent_channels: int = self.unet.config["in_channels"]
        factor = 2 ** (len(self.vae.config["block_out_channels"]) - 1)
        self.latent_size: tuple[int, int] = (image_size[0] // factor, image_size[1] // factor)
        self.offloaded = False

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the model computes in. A pass asks several times, and `unet.dtype` looks at every parameter."""
        return self.unet.conv_in.weight.dtype

    def for_control(self, detail: Drawing) -> DiffusionBackbone:
        """The same model with the ControlNet for this grade of control."""
        twin = copy(self)
        loose = self.parts.loose_controlnet if detail in LOOSE_DETAILS else None
        twin.controlnets = _nets(loose or self.parts.controlnet, self.parts)
        return twin

    def spare(self, sliced: bool, tiled: bool, offloaded: bool) -> None:
        """Less memory for more time. sliced: the autoencoder takes one picture at a time. tiled: in tiles of `TILE` pixels, where
        pictures are larger. offloaded: it and the text encoder are on the device only while they are at work."""
        if sliced:
            self.vae.enable_slicing()
        if tiled:
            factor = self.image_size[0] // self.latent_size[0]
            self.vae.tile_sample_min_size, self.vae.tile_latent_min_size = TILE, TILE // factor
            self.vae.enable_tiling()
        self.offloaded = offloaded
        if offloaded:
            self.vae.to(device=HOST)  # pyright: ignore[reportCallIssue]
            self.text_encoder.to(device=HOST)  # pyright: ignore[reportCallIssue, reportArgumentType]

    @contextmanager
    def _at_work(self, part: AutoencoderKL | CLIPTextModel) -> Iterator[None]:
        """While it lasts, a part that waits in the host's memory is on the device."""
        if not self.offloaded:
            yield
            return
        part.to(device=self.device)  # pyright: ignore[reportCallIssue, reportArgumentType]
        try:
            yield
        finally:
            part.to(device=HOST)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to latents (B, 4, h, w): the posterior mean times the scaling
        factor."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise UserError(
                f"An image has {images.shape[-1]} x {images.shape[-2]} pixels, but the backbone expects "
                f"{self.image_size[1]} x {self.image_size[0]}: set scene.size to this."
            )
        with torch.no_grad(), self._at_work(self.vae):
            mean = self.vae.encode(self._pixels(2 * images - 1)).latent_dist.mean  # pyright: ignore[reportAttributeAccessIssue]
        shift = self.vae.config.get("shift_factor")
        return (mean.float() if shift is None else mean.float() - shift) * self.vae.config["scaling_factor"]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 4, h, w) to images (B, 3, H, W), clamped to [0, 1]."""
        scaled, shift = latents / self.vae.config["scaling_factor"], self.vae.config.get("shift_factor")
        scaled = scaled if shift is None else scaled + shift
        with torch.no_grad(), self._at_work(self.vae):
            images = self.vae.decode(self._pixels(scaled)).sample  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
        return (images.float() / 2 + 0.5).clamp(0, 1)

    def embed(self, prompts: list[str]) -> Tensor:
        """Text states (B, L, C) of prompts, padded to the model's L tokens. The null prompt is "". What is
        longer is cut, with a warning."""
        spelt = prompts if self.parts.spell is None else self.parts.spell(prompts)
        limit = self.text_encoder.config.max_position_embeddings
        for prompt, words in zip(prompts, self.tokenizer(spelt, verbose=False).input_ids, strict=True):
            if len(words) > limit:
                log.warning("%s; what is beyond is left out.", too_long(prompt, len(words), limit))
        tokens = self.tokenizer(spelt, padding="max_length", truncation=True, max_length=limit, return_tensors="pt")
        with torch.no_grad(), self._at_work(self.text_encoder):
            ids = tokens.input_ids.to(self.device)
            if not self.clip_skip:
                return self.text_encoder(ids).last_hidden_state.float()
            states = self.text_encoder(ids, output_hidden_states=True).hidden_states[-(self.clip_skip + 1)]
            norm = getattr(self.text_encoder, "text_model", self.text_encoder).final_layer_norm
            return norm(states).float()

    def predict(self, latents: Tensor, t: int | Tensor, conditioning: Conditioning) -> Tensor:
        """The predicted noise ε(z_t, t, c), (B, C, h, w), differentiable with respect to `latents` and
        the text.

        t: one training time for all, or (B,). Residuals of several ControlNets add up.
        """
        time = t.to(self.device).expand(len(latents)) if isinstance(t, Tensor) else self._filled(len(latents), t)
        inputs = PassInputs(latents, time, conditioning)
        return self.run(inputs) if self.passes is None else self.passes(self, inputs)

    def run(self, inputs: PassInputs) -> Tensor:
        """A pass, run plainly: the noise (B, C, h, w)."""
        latents, time, conditioning = inputs.latents, inputs.time, inputs.conditioning
        z, states = self._pixels(latents), conditioning.text.to(self.dtype)
        down, mid = self._residuals(z, time, states, conditioning)
        output = self.unet(
            z,
            time,
            states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            return_dict=False,
        )[0].float()
        return self.process.noise(output, latents, time)

    def _residuals(self, z: Tensor, time: Tensor, states: Tensor, conditioning: Conditioning) -> tuple[Any, Any]:
        """What the ControlNets add to the U-Net's skip connections and to its middle, or None of
        both."""
        down, mid = None, None
        for control in conditioning.controls:
            found, middle = self.controlnets[control.net](
                z, time, states, self._pixels(control.drawing), conditioning_scale=control.scale, return_dict=False
            )
            down = found if down is None else [a + b for a, b in zip(down, found, strict=True)]
            mid = middle if mid is None else mid + middle
        return down, mid

    @contextmanager
    def bound(self, edits: Edits, batch: Batch) -> Iterator[None]:
        """While it lasts, `predict` runs with these edits (`qnerf.attention.hooks`)."""
        with bound(self.unet, edits, batch):
            yield

    @contextmanager
    def checkpointing(self, wanted: bool = True) -> Iterator[None]:
        """While it lasts, and if it is wanted, a backward pass computes the activations of U-Net and
        ControlNet again, block by block, instead of keeping them: equal gradients for less memory and
        one forward pass more (Chen et al. 2016, arXiv 1604.06174)."""
        nets = [net for net in (self.unet, *self.controlnets) if wanted]
        try:
            for net in nets:
                net.enable_gradient_checkpointing()
            yield
        finally:
            for net in nets:
                net.disable_gradient_checkpointing()

    def _filled(self, length: int, t: int) -> Tensor:
        """(length,), made on the device: a number that is sent there makes the host wait."""
        return torch.full((length,), t, device=self.device)

    def _pixels(self, images: Tensor) -> Tensor:
        return images.to(device=self.device, dtype=self.dtype).contiguous(memory_format=self.memory_format)


def _nets(first: ControlNetModel | None, parts: BackboneParts) -> tuple[ControlNetModel, ...]:
    return (*([] if first is None else [first]), *parts.more_controlnets)
