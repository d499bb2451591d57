"""DDIM inversion (Song et al. 2021; docs/method.md §1, §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class DdimInversionSettings(InversionSettings):
    """guidance_scale: γ of the inversion; 1 reconstructs best."""

    name: Literal["ddim"]
    guidance_scale: float = Field(default=1.0, ge=0)

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    def passes(self, steps: int) -> int:
        return self.reconstruction_passes(steps)

    def build(self) -> DdimInversion:
        return DdimInversion(self)


class DdimInversion(Inversion):
    settings: DdimInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        return Trajectory(invert(branch.guided(self.settings.guidance_scale), clean, branch.steps))
