"""Rich text (Ge et al., ICCV 2023), over any editor: words that have a prompt of their own where they are, or another size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.backbones.words import Prompts, word_problem, word_weights
from qnerf.editors.base import AdditionSettings, Part
from qnerf.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.denoising.edit import EditBranch, EditStep

KEY = "editor.additions.rich_text"


class RichTextSettings(AdditionSettings):
    """regions: by word of the source's prompt, the prompt under which the noise is predicted where the word is. sizes: by word of
    the target's prompt, how many times its weight counts in all cross-attention maps, which are then renormalised; below 0 it
    counts against. segments: how many the source is cut into. threshold: of a word's scaled map, above which a segment is the
    word's. since: share of the steps before the maps that count. seed: of the segments.
    """

    name: Literal["rich_text"]
    regions: dict[str, str] = Field(default_factory=dict)
    sizes: dict[str, float] = Field(default_factory=dict)
    segments: int = Field(default=9, ge=2)
    threshold: float = Field(default=0.3, ge=0, le=1)
    since: float = Field(default=10 / 41, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**31)

    def source_passes(self, steps: int) -> int:
        return steps - int(self.since * steps) if self.regions else 0

    def own_passes(self, steps: int) -> int:
        return steps * len(self.regions)

    def without_effect(self, steps: int) -> set[str]:
        return set() if self.regions else {"segments", "threshold", "since", "seed"}

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        if not self.regions and not self.sizes:
            return f"{KEY}: no regions and no sizes are given; expected some, by words: +{KEY}.sizes.hat=2"
        lists = (("regions", self.regions, source_prompt), ("sizes", self.sizes, target_prompt))
        return next((found for key, words, prompt in lists if (found := word_problem(f"{KEY}.{key}", words, prompt))), None)

    def build(self) -> RichText:
        return RichText(self)


class RichText(Part):
    """Maps of the regions are a function of the source alone, so that they are no state."""

    settings: RichTextSettings
    pulls = True

    def __init__(self, settings: RichTextSettings) -> None:
        super().__init__(settings)
        self._maps: dict[tuple[int, int], Tensor] = {}
        self._predicted: dict[tuple[int, int, int], tuple[EditBranch, Tensor, list[Tensor]]] = {}
        self._in_region = False

    def edits(self, step: EditStep) -> Edits:
        """The words' sizes, in the prediction of the target's prompt alone."""
        from qnerf.attention.hooks import Edits
        from qnerf.attention.maps import ChangeProbs, of_the_prompt

        sizes = self.settings.sizes
        if not sizes or self._in_region:
            return Edits()
        prompts, length = [prompts.target for prompts in step.prompts], step.source.branch.conditioning.text.shape[1]
        weights = [word_weights(step.backbone.tokenizer, prompts, [[word]] * len(prompts), length) for word in sizes]
        factors = sum((size - 1) * weight for size, weight in zip(sizes.values(), weights, strict=True)) + 1
        factors = factors[:, None, None].to(step.z.device)  # pyright: ignore[reportIndexIssue]

        def resized(layer: AttentionLayer, p: Tensor) -> Tensor:
            larger = p * factors.abs().to(p.dtype)
            return larger / larger.sum(dim=-1, keepdim=True) * factors.sign().to(p.dtype)

        return Edits.at(step.backbone.cross_attention_layers, ChangeProbs(of_the_prompt(step.batch), resized))

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        """Latents stay; the noise that each region's prompt predicts at them is for `steer`."""
        import torch

        noises = []
        try:
            self._in_region = True
            for prompt in self.settings.regions.values():
                text = branch.backbone.embed([prompt]).expand(len(branch.conditioning), -1, -1)
                prompts = tuple(Prompts(each.source, prompt) for each in branch.prompts)
                of_region = replace(branch, conditioning=replace(branch.conditioning, text=text), prompts=prompts)
                with torch.no_grad():
                    noises.append(of_region.conditional_noise(z, k))
        finally:
            self._in_region = False
        self._predicted[branch.views.start, branch.views.stop, k] = branch, z, noises
        return z

    def steer(self, step: EditStep, noise: Tensor) -> Tensor:
        """ε̂ + γ Σ M (ε(region) - ε): in the place of the conditional noise, that of the regions' prompts where they are."""
        from qnerf.attention.hooks import CONDITIONAL

        branch, z, noises = self._predicted.pop((step.views.start, step.views.stop, step.k))
        if not noises:
            return noise
        if z is not step.z and not bool((z == step.z).all()):
            raise UserError(f"{KEY}: latents were moved after it had seen them; put rich_text behind the other additions")
        key = (step.views.start, step.views.stop)
        if key not in self._maps:
            self._maps[key] = self._regions(branch)
        maps, conditional = self._maps[key].to(noise), branch.predicted[CONDITIONAL]
        return noise + branch.guidance_scale * sum(
            maps[:, number, None] * (own - conditional) for number, own in enumerate(noises)
        )  # fmt: skip

    def _regions(self, branch: EditBranch) -> Tensor:
        from qnerf.editors.token_maps import token_maps

        s = self.settings
        return token_maps(branch, tuple(s.regions), int(s.since * len(branch.steps)), s.segments, s.threshold, s.seed)
