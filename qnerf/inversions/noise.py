"""No inversion: the view under noise of its own at every state, for studies of what the model sees in a noised view, and as the
start of an edit without inversion (SDEdit, Meng et al. 2022; docs/method.md §3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class NoiseInversionSettings(InversionSettings):
    """Nothing is inverted, so denoising from the noisiest state does not give the view back. seed: of the noise."""

    name: Literal["noise"]
    seed: int = Field(default=0, ge=0, lt=2**32)

    def passes(self, steps: int) -> int:
        return 0

    def build(self) -> NoiseInversion:
        return NoiseInversion(self)


class NoiseInversion(Inversion):
    settings: NoiseInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory
        from qnerf.denoising.noised import noised_states

        return Trajectory(noised_states(clean, branch.steps, self.settings.seed, branch.first_view))
