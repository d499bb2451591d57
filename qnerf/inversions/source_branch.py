"""How an inversion's own branch predicts noise: the same predictor inverts, reconstructs, and feeds MasaCtrl."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from qnerf.attention.edits import Edits, UniformAttention, attention_edits, merge_edits
from qnerf.attention.layers import cross_attention_layers
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.inversions.ddim import DdimSteps, NoisePredictor, Trajectory, denoise, invert
from qnerf.inversions.null_text import guided_noise, optimise_null_text
from qnerf.inversions.settings import InversionSettings, NullTextInversionSettings


def ddim_steps(backbone: DiffusionBackbone, count: int) -> DdimSteps:
    """The backbone's DDIM steps: its leading timesteps, and ᾱ of the T + 1 states (the last is the final alpha)."""
    timesteps = backbone.timesteps(count)
    stride = timesteps[0] - timesteps[1]
    alpha = [backbone.alpha_bar(t) for t in timesteps] + [backbone.alpha_bar(max(timesteps[-1] - stride, -1))]
    return DdimSteps(tuple(timesteps), tuple(alpha))


@dataclass(frozen=True)
class SourceBranch:
    """The source predictor of some views: source prompt and control, and the inversion's own changes.

    text, null_text: (N, L, C). control: (N, 3, H, W).
    """

    backbone: DiffusionBackbone
    steps: DdimSteps
    settings: InversionSettings
    text: Tensor
    null_text: Tensor
    control: Tensor
    control_scale: float

    def edits(self) -> Edits:
        """The inversion's changes to attention: uniform maps in every cross-attention layer, or none."""
        if self.settings.name != "uniform_attention":
            return {}
        return {layer: [UniformAttention()] for layer in cross_attention_layers(self.backbone.unet)}

    def noise(self, z: Tensor, k: int, text: Tensor | None = None, edits: Edits | None = None) -> Tensor:
        """ε of the conditional pass at step k; uniform attention reads the null prompt, whatever the prompt is."""
        if text is None:
            text = self.null_text if self.settings.name == "uniform_attention" else self.text
        with attention_edits(self.backbone.unet, merge_edits(self.edits(), edits or {})):
            return self.backbone.predict(z, self.steps.timesteps[k], text, self.control, self.control_scale)

    @torch.no_grad()
    def invert(self, clean: Tensor) -> Trajectory:
        """Invert clean latents (N, 4, h, w)."""
        scale = self.settings.guidance_scale if self.settings.name == "ddim" else 1.0
        states = invert(self._guided(scale), clean, self.steps)
        if not isinstance(self.settings, NullTextInversionSettings):
            return Trajectory(states)
        null = optimise_null_text(
            lambda z, k, text: self.noise(z, k, text), states, self.text, self.null_text, self.steps, self.settings
        )
        return Trajectory(states, null)

    @torch.no_grad()
    def reconstruct(self, trajectory: Trajectory, scale: float | None = None) -> Tensor:
        """Denoise from the noisiest state without any edit: clean latents (N, 4, h, w).

        scale: γ; by default the one at which the inversion claims to reconstruct.
        """
        if scale is None:
            scale = 1.0 if self.settings.name == "uniform_attention" else self.settings.guidance_scale
        return denoise(self._guided(scale, trajectory.null_text), trajectory.states[0], self.steps)

    def _guided(self, scale: float, null_text: Tensor | None = None) -> NoisePredictor:
        if scale == 1.0:
            return self.noise
        return partial(self._guided_noise, scale=scale, null_rows=null_text)

    def _guided_noise(self, z: Tensor, k: int, scale: float, null_rows: Tensor | None) -> Tensor:
        null = self.null_text if null_rows is None else null_rows[k]
        return guided_noise(self.noise(z, k, null), self.noise(z, k), scale)
