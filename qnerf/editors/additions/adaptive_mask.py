"""UAM's adaptive mask (Mo et al., WACV 2025, alg. 1), over any editor.

In the last steps, where the edit's predicted clean latents hardly differ from the source's, those of an *auxiliary branch* are
used: the source, inverted and denoised again under the null prompt with uniform cross-attention maps, which reconstructs it
whatever the prompts are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.base import AdditionSettings, Part

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.edit import EditStep


class AdaptiveMaskSettings(AdditionSettings):
    """below: training time t below which it acts. quantile: q of the last step's λ; that of step i of T is q i / (T - 1).
    multiple: a latent is edited where it differs by more than so many λ (2 in the authors' code, 1 in their text). dilation: by
    how many latents the edited region is widened. source_line: the source branch, too, takes over the auxiliary
    branch where the edit happens.
    """

    name: Literal["adaptive_mask"]
    below: int = Field(default=200, ge=0, le=1000)
    quantile: float = Field(default=0.5, ge=0, le=1)
    multiple: float = Field(default=2.0, ge=0)
    dilation: int = Field(default=1, ge=0)
    source_line: bool = False

    def source_passes(self, steps: int) -> int:
        """The auxiliary branch there and back, and the source's prediction in the share of the steps that is masked."""
        return 2 * steps + round(steps * self.below / 1000)

    def build(self) -> AdaptiveMask:
        return AdaptiveMask(self)


class AdaptiveMask(Part):
    """State, with the source line: the source's latents as it leaves them, `source` (N, 4, h, w), and of which state they are,
    `at` (N,). The auxiliary branch is a function of the source alone, so that it is no state."""

    settings: AdaptiveMaskSettings

    def __init__(self, settings: AdaptiveMaskSettings) -> None:
        super().__init__(settings)
        self._auxiliary: dict[tuple[int, int], dict[int, Tensor]] = {}
        self._kept: dict[str, Tensor] = {}

    def acts(self, step: EditStep) -> bool:
        return step.steps.timesteps[step.k] < self.settings.below

    def sees(self, step: EditStep) -> EditStep:
        """The source branch as the source line has left it. What was kept of the unchanged one is not read."""
        import torch

        from qnerf.denoising.source_cache import SourceCache

        if not self._kept or int(self._kept["at"][step.views.start]) != step.k:
            return step
        trajectory = step.source.trajectory
        states = torch.cat([trajectory.states[: step.k], self._source(step)[None], trajectory.states[step.k + 1 :]])
        return replace(step, source=replace(step.source, trajectory=replace(trajectory, states=states), cache=SourceCache()))

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        """ẑ0 where it is edited, elsewhere ẑ0 of the auxiliary branch."""
        if not self.acts(step):
            return clean
        seen = self.sees(step)
        z = seen.source.trajectory.states[step.k]
        source = step.steps.clean(z, self._source_noise(seen, z), step.k)
        auxiliary = self._of_auxiliary(step)
        edited = self.edited(source, clean, step.k, len(step.steps))
        if self.settings.source_line:
            self._keep(step, edited * (auxiliary - source))
        return clean.where(edited, auxiliary)

    def edited(self, source: Tensor, clean: Tensor, k: int, steps: int) -> Tensor:
        """Where the edit counts, (V, 4, h, w) bool: λ is one number a view, over all channels and latents."""
        import torch
        import torch.nn.functional as F

        d, radius = (source - clean).abs(), self.settings.dilation
        level = torch.quantile(d.flatten(1), self.settings.quantile * k / max(steps - 1, 1), dim=1)
        differs = d > (self.settings.multiple * level)[:, None, None, None]
        return F.max_pool2d(differs.to(d.dtype), 2 * radius + 1, stride=1, padding=radius) > 0

    def state(self) -> dict[str, Tensor]:
        return self._kept

    def restore(self, state: dict[str, Tensor]) -> None:
        self._kept = state

    def _source_noise(self, step: EditStep, z: Tensor) -> Tensor:
        """ε of the source branch at the scale at which its inversion reconstructs."""
        branch, null = step.source.branch, step.source.trajectory.null_text
        return branch.guided(branch.inversion.settings.reconstruction_scale, null)(z, step.k)

    def _source(self, step: EditStep) -> Tensor:
        return self._kept["source"][step.views].to(step.z.device)

    def _keep(self, step: EditStep, change: Tensor) -> None:
        """The source's state k + 1: as direct inversion corrects it, and as much changed as its clean latents are."""
        import torch

        if not self._kept:
            self._kept = {"at": torch.full((step.all_views,), -1), "source": step.z.new_zeros(step.all_views, *step.z.shape[1:])}
        after = step.source.trajectory.states[step.k + 1] + step.steps.signal[step.k + 1] * change
        self._kept["source"] = self._kept["source"].to(after.device)
        self._kept["source"][step.views] = after
        self._kept["at"][step.views] = step.k + 1

    def _of_auxiliary(self, step: EditStep) -> Tensor:
        """ẑ0 (V, 4, h, w) of the auxiliary branch at this step; computed once for each views."""
        key = (step.views.start, step.views.stop)
        if key not in self._auxiliary:
            self._auxiliary[key] = dict(_auxiliary(step, self.settings.below))
        return self._auxiliary[key][step.k].to(step.z.device)


def _auxiliary(step: EditStep, below: int) -> Iterator[tuple[int, Tensor]]:
    """(k, ẑ0) of the steps below a time, in the host's memory: the source's clean latents inverted and denoised under the null
    prompt and uniform cross-attention maps."""
    from qnerf.attention.edits import UniformAttention
    from qnerf.attention.hooks import Edits
    from qnerf.denoising.ddim import ddim_step, invert
    from qnerf.devices import HOST

    branch, steps = step.source.branch, step.steps
    uniform = Edits.at(step.backbone.cross_attention_layers, UniformAttention())

    def noise_of(z: Tensor, k: int) -> Tensor:
        return branch.noise(z, k, branch.null_text, uniform)

    trajectory = step.source.trajectory  # of the uniform-attention inversion it has this branch's states, too
    z = invert(noise_of, trajectory.states[-1], steps)[0] if trajectory.auxiliary is None else trajectory.auxiliary[0]
    for k in range(len(steps)):
        noise = noise_of(z, k)
        if steps.timesteps[k] < below:
            yield k, steps.clean(z, noise, k).to(HOST)
        z = ddim_step(z, noise, steps, k, k + 1)
