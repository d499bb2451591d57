"""Mixed guidance: the rendered queries Q̂ are mixed into the model's own q, `q + strength (Q̂ - q)`
(docs/method.md §2.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.guidance.guidance import Guidance, Predictions, RegionalGuidanceSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.edit import EditBranch


class MixedSettings(RegionalGuidanceSettings):
    """strength: share of the rendered queries. weights: "equal" uses this share for all queries (the
    paper); "component" multiplies it by the field's R² of each principal component of a layer's queries
    (ours). region: which tokens. predictions: which of a step's predictions.
    """

    name: Literal["mixed"]
    strength: float = Field(default=0.5, gt=0, le=1)
    weights: Literal["equal", "component"] = "equal"
    predictions: Predictions = "all"

    def build(self) -> Mixed:
        return Mixed(self)


class Mixed(Guidance):
    settings: MixedSettings

    def guided_step(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        from qnerf.consolidation.targets import step_with_queries

        s = self.settings
        return step_with_queries(branch, z, k, target, s.region, s.predictions, s.strength, s.weights == "component")
