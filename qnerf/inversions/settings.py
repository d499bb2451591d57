"""Settings of the inversions (METHOD §3)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings


class DdimInversionSettings(Settings):
    """DDIM inversion. guidance_scale: γ of the inversion; 1 is the pivot that reconstructs best."""

    name: Literal["ddim"]
    steps: int = Field(default=30, ge=2, le=1000)
    guidance_scale: float = Field(default=1.0, ge=0)
    warn_below_psnr: float = 22.0


class NullTextInversionSettings(Settings):
    """Null-text inversion (Mokady et al. 2023): ∅_t optimised along the DDIM pivot, for reconstruction at guidance_scale.

    inner_steps: at most so many Adam steps per denoising step. learning_rate: of the first step, falling linearly.
    early_stop, early_stop_growth: stop once the error is below early_stop + early_stop_growth * step.
    joint: one ∅_t shared by all views (Jambon 2023).
    """

    name: Literal["null_text"]
    steps: int = Field(default=30, ge=2, le=1000)
    guidance_scale: float = Field(default=7.5, gt=1)
    inner_steps: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    early_stop: float = Field(default=1e-5, ge=0)
    early_stop_growth: float = Field(default=2e-5, ge=0)
    joint: bool = False
    warn_below_psnr: float = 22.0


class UniformAttentionInversionSettings(Settings):
    """Inversion with uniform cross-attention maps and the null prompt (Mo et al. 2025)."""

    name: Literal["uniform_attention"]
    steps: int = Field(default=30, ge=2, le=1000)
    warn_below_psnr: float = 22.0


InversionSettings = Annotated[
    DdimInversionSettings | NullTextInversionSettings | UniformAttentionInversionSettings, Field(discriminator="name")
]
