"""Straight: the noise of all steps is predicted from the clean latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch


class StraightSettings(InversionSettings):
    name: Literal["straight"]

    def build(self) -> Straight:
        return Straight(self)


class Straight(Inversion):
    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        from qnerf.denoising.ddim import Trajectory, invert

        return Trajectory(invert(lambda z, k: branch.noise(clean, k), clean, branch.steps))
