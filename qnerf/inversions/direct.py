"""Direct inversion, "PnP Inversion" (Ju et al., ICLR 2024; docs/method.md §3.5).

The authors run the source and the target side by side under guidance γ, and after each step put the source's row back on the
DDIM pivot by adding the offset that the inversion found; the target's row goes on as it is. Here the source branch is read along
its trajectory at every step (`SourceReader`), so it is on the pivot already: an edit's own rows are those of `inversion=ddim` at
γ = 1. What the offsets add is that the source branch, denoised by itself under γ, is the trajectory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class DirectInversionSettings(InversionSettings):
    """guidance_scale: γ of the source branch, and of an edit whose editor sets none."""

    name: Literal["direct"]
    guidance_scale: float = Field(default=7.5, ge=1)

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    @property
    def edit_scale(self) -> float:
        return self.guidance_scale

    def passes(self, steps: int) -> int:
        """The pivot, and the source's step from each of its states."""
        return steps + self.reconstruction_passes(steps)

    def build(self) -> DirectInversion:
        return DirectInversion(self)


class DirectInversion(Inversion):
    settings: DirectInversionSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        import torch

        from qnerf.denoising.ddim import Trajectory, ddim_step, invert

        pivot, guided = invert(branch.noise, clean, branch.steps), branch.guided(self.settings.guidance_scale)
        reached = [ddim_step(z, guided(z, k), branch.steps, k, k + 1) for k, z in enumerate(pivot[:-1])]
        return Trajectory(pivot, offsets=pivot[1:] - torch.stack(reached))
