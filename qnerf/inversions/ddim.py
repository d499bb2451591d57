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
    """guidance_scale: γ of the inversion; 1 reconstructs best. time: at whose time the model is asked in a step from a state to
    the noisier one: that of the "later" (noisier) state, as in all references, or the state's "own". fixed_point: how often the
    noise is then asked again at the state that was reached (ours; Pan et al. 2023 and Garibi et al. 2024 do likewise)."""

    name: Literal["ddim"]
    guidance_scale: float = Field(default=1.0, ge=0)
    time: Literal["later", "own"] = "later"
    fixed_point: int = Field(default=0, ge=0)

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    def passes(self, steps: int) -> int:
        return self.reconstruction_passes(steps) * (1 + self.fixed_point)

    def build(self) -> DdimInversion:
        return DdimInversion(self)


class DdimInversion(Inversion):
    settings: DdimInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        s = self.settings
        return Trajectory(invert(branch.guided(s.guidance_scale), clean, branch.steps, s.time == "own", s.fixed_point))
