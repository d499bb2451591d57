"""SDEdit (Meng et al., ICLR 2022): the edit starts late, from the noised source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.base import AdditionSettings, Part

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.edit import EditBranch


class SdeditSettings(AdditionSettings):
    """strength: share of the steps that are taken; earlier ones are left out. seed: of the noise, which is another one for each
    view.
    """

    name: Literal["sdedit"]
    strength: float = Field(default=0.8, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=2**31)

    def first_step(self, steps: int) -> int:
        """The first of the steps that is taken."""
        return min(round((1 - self.strength) * steps), steps - 1)

    @property
    def draws_start(self) -> bool:
        return True

    def acts(self, first: int, steps: int) -> bool:
        return first <= self.first_step(steps)

    def build(self) -> Sdedit:
        return Sdedit(self)


class Sdedit(Part):
    settings: SdeditSettings
    pulls = True

    def first_step(self, steps: int) -> int:
        return self.settings.first_step(steps)

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        """Up to the first step the source's clean latents z0 at the noise of state k, √ā z0 + √(1 - ā) ε: nothing of an inversion
        is read."""
        import torch

        if k > self.first_step(len(branch.steps)):
            return z
        clean = branch.source.trajectory.states[-1]
        generators = [torch.Generator().manual_seed(self.settings.seed + 2**31 * v) for v in range(*branch.views.indices(2**31))]
        noise = torch.stack([torch.randn(clean.shape[1:], generator=generator) for generator in generators]).to(clean)
        return branch.steps.signal[k] * clean + branch.steps.sigma[k] * noise
