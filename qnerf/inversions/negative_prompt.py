"""Negative-prompt inversion (Miyake et al. 2023), and proximal guidance beside it (Han et al., WACV 2024; docs/method.md §3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings
from qnerf.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class ProximalSettings(Settings):
    """threshold: what becomes of a difference of predictions ε(c) - ε(∅) in an edit, λ being a quantile of its magnitude in the
    view: "hard": what is below λ is 0; "soft": all is less by λ besides. below_time: in steps at times below it, predicted clean
    latents are drawn to the view's by `rate`, where the difference is 0."""

    threshold: Literal["hard", "soft"] = "hard"
    quantile: float = Field(default=0.7, gt=0, lt=1)
    below_time: int = Field(default=400, ge=0)
    rate: float = Field(default=0.1, ge=0, le=1)


class NegativePromptInversionSettings(InversionSettings):
    """The source's prompt c takes the place of the null prompt at every step, so that guidance of the source adds nothing.

    guidance_scale: γ at which it is to reconstruct, and of an edit whose editor sets none. towards_null: how far that prompt is
    moved from c (0) to the null prompt (1), on the arc between them. proximal: proximal guidance of the edit; None: none.
    """

    name: Literal["negative_prompt"]
    guidance_scale: float = Field(default=7.5, ge=1)
    towards_null: float = Field(default=0.0, ge=0, le=1)
    proximal: ProximalSettings | None = None

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    @property
    def edit_scale(self) -> float:
        return self.guidance_scale

    @property
    def needs_guidance(self) -> bool:
        return self.proximal is not None

    def build(self) -> NegativePromptInversion:
        return NegativePromptInversion(self)


class NegativePromptInversion(Inversion):
    settings: NegativePromptInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        text, share = branch.conditioning.text, self.settings.towards_null
        null = text if share == 0 else slerp(text, branch.null_text, share)
        return Trajectory(invert(branch.noise, clean, branch.steps), null.expand(len(branch.steps), *null.shape).clone())

    def guided(self, null: Tensor, conditional: Tensor, scale: float) -> Tensor:
        proximal = self.settings.proximal
        if proximal is None:
            return super().guided(null, conditional, scale)
        return null + scale * thresholded(conditional - null, proximal)

    def revise(self, clean: Tensor, null: Tensor, conditional: Tensor, source: Tensor, time: int) -> Tensor:
        proximal = self.settings.proximal
        if proximal is None or time >= proximal.below_time:
            return clean
        still = thresholded(conditional - null, proximal) == 0
        return clean - proximal.rate * still * (clean - source)


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """From text states (N, L, C) to others, each view's as one vector, on the arc between them: as the authors' `slerp_tensor`."""
    import torch

    a, b = start.flatten(1), end.flatten(1)
    cosine = (a / a.norm(dim=1, keepdim=True) * (b / b.norm(dim=1, keepdim=True))).sum(dim=1, keepdim=True)
    angle = torch.acos(cosine.clamp(-1, 1))
    mixed = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    return torch.where(angle > 1e-4, mixed, a).reshape(start.shape)  # equal prompts have no arc between them


def thresholded(difference: Tensor, proximal: ProximalSettings) -> Tensor:
    """The proximal operator of L0 (hard) or L1 (soft) at λ, a quantile of the magnitude over channels and places of each view."""
    magnitude = difference.abs()
    least = magnitude.flatten(1).quantile(proximal.quantile, dim=1)[:, None, None, None]
    kept = difference if proximal.threshold == "hard" else difference.sign() * (magnitude - least)
    return kept * (magnitude > least)
