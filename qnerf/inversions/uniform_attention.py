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
    """Every cross-attention map is the constant 1 / tokens, so that the prompt has no effect. branches: where. In the "auxiliary"
    branch alone, which is inverted for itself, while source and target start from a plain inversion under the null prompt (as
    published); or in "all" of the inversion and of the source's passes, so that the edit starts from the uniform one (ours)."""

    name: Literal["uniform_attention"]
    branches: Literal["auxiliary", "all"] = "auxiliary"

    def passes(self, steps: int) -> int:
        return steps * (2 if self.branches == "auxiliary" else 1)

    def build(self) -> UniformAttentionInversion:
        return UniformAttentionInversion(self)


class UniformAttentionInversion(Inversion):
    settings: UniformAttentionInversionSettings

    def text(self, branch: SourceBranch) -> Tensor:
        return branch.null_text

    def edits(self, backbone: DiffusionBackbone) -> Edits:
        from qnerf.attention.hooks import Edits

        return uniform_maps(backbone) if self.settings.branches == "all" else Edits()

    def auxiliary_edits(self, backbone: DiffusionBackbone) -> Edits:
        return uniform_maps(backbone)

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        states = invert(branch.noise, clean, branch.steps)
        if self.settings.branches == "all":
            return Trajectory(states)
        return Trajectory(states, auxiliary=invert(branch.auxiliary_noise, clean, branch.steps))


def uniform_maps(backbone: DiffusionBackbone) -> Edits:
    """Uniform maps in every cross-attention layer."""
    from qnerf.attention.edits import UniformAttention
    from qnerf.attention.hooks import Edits

    return Edits.at(backbone.cross_attention_layers, UniformAttention())
