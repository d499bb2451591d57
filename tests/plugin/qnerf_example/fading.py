"""Fading: hard guidance whose share falls linearly to 0 at the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.guidance.guidance import Guidance, RegionalGuidanceSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.edit import EditBranch


class FadingSettings(RegionalGuidanceSettings):
    name: Literal["fading"]

    def build(self) -> Fading:
        return Fading(self)


class Fading(Guidance):
    settings: FadingSettings

    def guided_step(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        from qnerf.consolidation.targets import step_with_queries

        share = 1 - k / len(branch.steps)
        return step_with_queries(branch, z, k, target, self.settings.region, "conditional", share)
