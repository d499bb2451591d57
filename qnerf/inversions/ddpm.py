"""Edit-friendly DDPM inversion (Huberman-Spiegelglas et al., CVPR 2024; docs/method.md §3.6).

Every state is the view with noise of its own, independent of the other states'; what then separates a state from the mean of the
step to it is that step's residual noise. Denoising with these residuals, at η = 1, gives the view back; an edit goes on with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class DdpmInversionSettings(InversionSettings):
    """guidance_scale: γ of the source's predictions. target_scale: γ of an edit whose editor sets none. skip: share of the steps
    that an edit leaves out. last_residual: keep that of the last step too, so that the view comes back exactly; the authors set
    it to 0. seed: of the states' noise."""

    name: Literal["ddpm"]
    guidance_scale: float = Field(default=3.5, ge=1)
    target_scale: float = Field(default=15.0, ge=1)
    skip: float = Field(default=0.36, ge=0, lt=1)
    last_residual: bool = True
    seed: int = Field(default=0, ge=0, lt=2**32)

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    @property
    def edit_scale(self) -> float:
        return self.target_scale

    @property
    def skipped(self) -> float:
        return self.skip

    @property
    def adds_noise(self) -> bool:
        return True

    def passes(self, steps: int) -> int:
        return self.reconstruction_passes(steps)

    def build(self) -> DdpmInversion:
        return DdpmInversion(self)


class DdpmInversion(Inversion):
    settings: DdpmInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        import torch

        from qnerf.denoising.ddim import Trajectory, ddim_step
        from qnerf.denoising.noised import noised_states

        steps, guided = branch.steps, branch.guided(self.settings.guidance_scale)
        states, residuals = noised_states(clean, steps, self.settings.seed, branch.first_view), []
        for k, z in enumerate(states[:-1]):
            mean = ddim_step(z, guided(z, k), steps, k, k + 1, residual=torch.zeros_like(z))
            residuals.append(states[k + 1] - mean)
        if not self.settings.last_residual:
            residuals[-1] = torch.zeros_like(clean)
        return Trajectory(states, residuals=torch.stack(residuals))
