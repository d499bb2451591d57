"""Hard guidance: the rendered queries replace the model's own (docs/method.md §2.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.guidance.guidance import Guidance, Predictions, RegionalGuidanceSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.edit import EditBranch


class HardSettings(RegionalGuidanceSettings):
    """region: which tokens. predictions: which of a step's predictions."""

    name: Literal["hard"]
    predictions: Predictions = "all"

    def build(self) -> Hard:
        return Hard(self)


class Hard(Guidance):
    settings: HardSettings

    def guided_step(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        from qnerf.consolidation.targets import step_with_queries

        s = self.settings
        return step_with_queries(branch, z, k, target, s.region, s.predictions)
