"""Fixed point: each step of DDIM inversion asks again at the state that it has just found.

Pan et al., "Effective Real Image Editing with Accelerated Iterative Diffusion Inversion", ICCV 2023,
without the acceleration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class FixedPointSettings(InversionSettings):
    """rounds: U-Net passes per step; 1 is DDIM inversion."""

    name: Literal["fixed_point"]
    rounds: int = Field(default=2, ge=1)

    def passes(self, steps: int) -> int:
        return steps * self.rounds

    def build(self) -> FixedPoint:
        return FixedPoint(self)


class FixedPoint(Inversion):
    settings: FixedPointSettings

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        """clean: (N, 4, h, w) latents of N views."""
        import torch

        from qnerf.denoising.ddim import Trajectory, ddim_step

        states = [clean]
        for k in reversed(range(len(branch.steps))):
            noisier = states[-1]
            for _ in range(self.settings.rounds):
                noisier = ddim_step(states[-1], branch.noise(noisier, k), branch.steps, k + 1, k)
            states.append(noisier)
        return Trajectory(torch.stack(states[::-1]))
