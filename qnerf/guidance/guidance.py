"""What a guidance is: its settings, and how rendered queries act on a denoising step (docs/method.md §2.5).
Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.variants import Variant

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.edit import EditBranch

Region = Literal["moved", "object", "all"]
Predictions = Literal["conditional", "all"]
"""Of which predictions of a step the queries are replaced. A step may combine the conditional prediction
with those for the null text and for the source's control. Fields are trained on the conditional one."""


class GuidanceSettings(Variant):
    """What plans ask of a guidance."""

    @property
    def restricted(self) -> bool:
        """Whether it acts only in a region, which the proxy defines."""
        return False

    @property
    def only_shows(self) -> bool:
        """Whether fields are trained in all intervals but guide nothing, for inspection."""
        return False

    def guides(self, k: int, steps: int) -> bool:
        """Whether step k of `steps` is guided, if there is a target."""
        raise NotImplementedError

    def step_passes(self, k: int, steps: int) -> int:
        """U-Net passes per view in step k if there is a target; a backward pass counts as two."""
        return 1

    def build(self) -> Guidance:
        raise NotImplementedError


class RegionalGuidanceSettings(GuidanceSettings):
    """region: which tokens are guided. "moved": where a part that the edit moves may be, before or after
    the edit; "object": where any part of the object may be; "all": all tokens. until: share of the
    denoising steps after which guidance ends.
    """

    region: Region = "all"
    until: float = Field(default=1.0, gt=0, le=1)

    @property
    def restricted(self) -> bool:
        return self.region != "all"

    def guides(self, k: int, steps: int) -> bool:
        return k < self.until * steps


class Guidance:
    """One way to guide a step. By default rendered queries are ignored.

    pulls: whether it moves the latents before a step is taken (`pulled`).
    """

    pulls = False

    def __init__(self, settings: GuidanceSettings) -> None:
        self.settings = settings

    def pull(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries | None) -> Tensor:
        """State k of latents z (V, 4, h, w), pulled where there is a target and guidance has not ended."""
        return z if target is None or not self.settings.guides(k, len(branch.steps)) else self.pulled(branch, z, k, target)

    def step(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries | None) -> Tensor:
        """State k + 1 of latents z (V, 4, h, w), guided where there is a target and guidance has not
        ended. What `pulls` has pulled them before."""
        import torch

        with torch.no_grad():
            if target is None or not self.settings.guides(k, len(branch.steps)):
                return branch.step(z, branch.noise(z, k), k)
            return self.guided_step(branch, z, k, target)

    def pulled(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        """State k of latents z (V, 4, h, w), moved towards the target."""
        return z

    def guided_step(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        """State k + 1 of latents z (V, 4, h, w), guided by the target: by default by having pulled them."""
        return branch.step(z, branch.noise(z, k), k)
