"""Attend-and-Excite (Chefer et al., SIGGRAPH 2023), over any editor: no word of the prompt is to be overlooked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from qnerf.editors.base import AdditionSettings, Part
from qnerf.editors.descent import GRADIENT_PASSES, added_words_problem, descend, target_words

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch


class AttendAndExciteSettings(AdditionSettings):
    """words: of the target's prompt; none: those that the source's has not. step_size: α of z - α √s ∇E, s falls linearly from 1
    at the first step to .5 at the last. until: share of the steps after which it ends. refine_at, reach: at these shares of the
    steps, gradient steps go on until each word's largest weight is at least this, `refinements` times at most.
    """

    name: Literal["attend_and_excite"]
    words: tuple[str, ...] = ()
    step_size: float = Field(default=20.0, gt=0)
    until: float = Field(default=0.5, ge=0, le=1)
    refine_at: tuple[float, ...] = (0.0, 0.2, 0.4)
    reach: tuple[float, ...] = (0.05, 0.5, 0.8)
    refinements: int = Field(default=20, ge=0)

    @model_validator(mode="after")
    def _are_pairs(self) -> AttendAndExciteSettings:
        if len(self.refine_at) != len(self.reach):
            raise ValueError(f"reach: got {len(self.reach)} values; expected {len(self.refine_at)}, one for each of refine_at")
        return self

    def own_passes(self, steps: int) -> int:
        return GRADIENT_PASSES * (int(self.until * steps) + len(self.refine_at) * self.refinements)

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        return added_words_problem("editor.additions.attend_and_excite.words", self.words, source_prompt, target_prompt)

    def acts(self, first: int, steps: int) -> bool:
        return first < int(self.until * steps)

    def build(self) -> AttendAndExcite:
        return AttendAndExcite(self)


class AttendAndExcite(Part):
    settings: AttendAndExciteSettings
    pulls = True

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        s, steps = self.settings, len(branch.steps)
        energy = Overlooked(branch, target_words(branch, s.words))
        rate = s.step_size * (1 - 0.5 * k / max(steps - 1, 1)) ** 0.5
        for share, reach in zip(s.refine_at, s.reach, strict=True):
            if k == round(share * steps):
                z = descend(branch, z, k, energy, rate, s.refinements, above=max(0.0, 1 - reach), check_first=True)
        return descend(branch, z, k, energy, rate, 1) if k < int(s.until * steps) else z


class Overlooked:
    """E = max over words of 1 - max over places of the word's weight: the mean of the cross-attention maps of a quarter of the
    latents' side, a softmax over all words of 100 times it, smoothed over 3 x 3 places."""

    def __init__(self, branch: EditBranch, words: Tensor) -> None:
        from qnerf.attention.maps import RecordMaps, sixteenth

        self.layers, self.words, self.record = sixteenth(branch.backbone.cross_attention_layers), words, RecordMaps()
        self.grid = self.layers[0].token_grid(branch.backbone.latent_size)

    def edits(self) -> Edits:
        from qnerf.attention.hooks import Edits

        return Edits.at(self.layers, self.record)

    def value(self) -> Tensor:
        """(V,)."""
        import torch

        from qnerf.attention.maps import smoothed_words

        maps = torch.stack([self.record.maps[layer].mean(dim=1) for layer in self.layers]).mean(dim=0)
        overlooked = (1 - smoothed_words(maps, self.grid).amax(dim=(2, 3))).clamp_min(0)
        return (overlooked * self.words[:, 1:-1].to(overlooked)).amax(dim=1)
