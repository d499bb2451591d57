"""Inversion with uniform cross-attention maps and the null prompt (Mo et al., WACV 2025; docs/method.md §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.backbones.diffusion import DiffusionBackbone
    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class UniformAttentionInversionSettings(InversionSettings):
    """Every cross-attention map is the constant 1 / tokens, so that the prompt has no effect."""

    name: Literal["uniform_attention"]

    def build(self) -> UniformAttentionInversion:
        return UniformAttentionInversion(self)


class UniformAttentionInversion(Inversion):
    settings: UniformAttentionInversionSettings

    def text(self, branch: SourceBranch) -> Tensor:
        return branch.null_text

    def edits(self, backbone: DiffusionBackbone) -> Edits:
        from qnerf.attention.edits import UniformAttention
        from qnerf.attention.hooks import Edits

        return Edits.at(backbone.cross_attention_layers, UniformAttention())

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        return Trajectory(invert(branch.noise, clean, branch.steps))
