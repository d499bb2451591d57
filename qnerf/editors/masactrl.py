"""MasaCtrl (M. Cao et al., ICCV 2023): mutual self-attention with the source branch.

From denoising step S and self-attention layer L on, the target attends to the keys and values of the
*source branch*, which is the same view re-read from its inversion trajectory (docs/method.md §2.2). Under
classifier-free guidance the null half reads the source's null half (docs/method.md §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from qnerf.backbones.words import word_problem, word_weights
from qnerf.editors.editor import Editor, EditorSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.denoising.edit import EditStep


class MasaCtrlSettings(EditorSettings):
    """start: share of the denoising steps before it starts (4 of 50 = 0.08). start_layer: first
    self-attention layer. keys: "replace" the target's keys and values by the source's, or attend to the
    "union" of both. mask: "region": what is inside the object's region attends to what is inside it in the
    source, and the rest to the rest; "words": likewise, inside being where both prompts' `mask_words` are
    seen: the mean of their cross-attention maps of a quarter of the latents' side, scaled to 0 … 1, is at
    least `mask_threshold`; "none": no mask. source_cache_gib: memory for the keys and values of the source
    branch, which are recomputed where they do not fit. It should hold one interval of all views (embedded
    model: 1.4 MiB per view and step), or all steps if several methods use them.
    """

    name: Literal["masactrl"]
    start: float = Field(default=0.08, ge=0, le=1)
    start_layer: int = Field(default=10, ge=0)
    keys: Literal["replace", "union"] = "replace"
    mask: Literal["none", "region", "words"] = "none"
    mask_words: tuple[str, ...] = ()
    mask_threshold: float = Field(default=0.1, ge=0, le=1)
    source_cache_gib: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _words_are_named(self) -> MasaCtrlSettings:
        if self.mask == "words" and not self.mask_words:
            raise ValueError("mask_words: none given; expected the words of the object, of both prompts: mask_words=[figure]")
        return self

    @property
    def cache_gib(self) -> float:
        return self.source_cache_gib

    def first_step(self, steps: int) -> int:
        """The step at which it begins."""
        return round(self.start * steps)

    def source_passes(self, steps: int) -> int:
        return (steps - self.first_step(steps)) * (2 if self.mask == "words" else 1)

    def source_bytes(self, steps: int, layer_bytes: float) -> float:
        return layer_bytes * steps

    def without_effect(self, steps: int) -> set[str]:
        return set() if self.mask == "words" else {"mask_words", "mask_threshold"}

    @property
    def region_key(self) -> str | None:
        return "editor.mask" if self.mask == "region" else None

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        if self.mask != "words":
            return None
        problems = (word_problem("editor.mask_words", self.mask_words, prompt) for prompt in (source_prompt, target_prompt))
        return next((problem for problem in problems if problem), None)

    def build(self) -> MasaCtrl:
        return MasaCtrl(self)


class MasaCtrl(Editor):
    settings: MasaCtrlSettings

    def edits(self, step: EditStep) -> Edits:
        from qnerf.attention.edits import InjectKeysValues
        from qnerf.attention.hooks import CONDITIONAL, NULL, Edits

        if step.k < self.settings.first_step(len(step.steps)):
            return Edits()
        layers = step.layers[self.settings.start_layer :]
        rows = [name for name in (NULL, CONDITIONAL) if name in step.batch.rows]
        kept, source_rows = step.source.keys_values(step.k, layers, rows)
        union = self.settings.keys == "union"
        injection = Edits.at(layers, InjectKeysValues(kept, source_rows, union))
        if self.settings.mask == "region":
            return injection | self._by_region(step, layers, union)
        return injection | self._by_words(step, layers, union) if self.settings.mask == "words" else injection

    def _by_region(self, step: EditStep, layers: tuple[AttentionLayer, ...], union: bool) -> Edits:
        import torch

        from qnerf.attention.edits import MaskKeys
        from qnerf.attention.hooks import Edits
        from qnerf.scenes.region import tokens_inside

        size = (step.z.shape[-2], step.z.shape[-1])
        inside = {layer: tokens_inside(step.region.object, *layer.token_grid(size)).flatten(1) for layer in layers}
        keys = {layer: torch.cat([mask, mask], dim=1) for layer, mask in inside.items()} if union else inside
        return Edits.at(layers, MaskKeys(inside, keys))

    def _by_words(self, step: EditStep, layers: tuple[AttentionLayer, ...], union: bool) -> Edits:
        from qnerf.attention.hooks import CONDITIONAL, Edits
        from qnerf.attention.maps import MaskByWords, RecordMaps, normalised, sixteenth, word_maps

        cross, threshold = sixteenth(step.backbone.cross_attention_layers), self.settings.mask_threshold
        source, target = (self._words(step, [getattr(prompts, side) for prompts in step.prompts]) for side in ("source", "target"))
        seen, own = RecordMaps(), RecordMaps()
        step.source.read(step.k, [CONDITIONAL], Edits.at(cross, seen))
        inside = normalised(word_maps(seen.maps, source)) >= threshold
        size = (step.z.shape[-2], step.z.shape[-1])
        mask = MaskByWords(own, target, threshold, inside, cross[0].token_grid(size), size, union)
        return Edits.at(cross, own) | Edits.at(layers, mask)

    def _words(self, step: EditStep, prompts: list[str]) -> Tensor:
        words, length = [self.settings.mask_words] * len(prompts), step.source.branch.conditioning.text.shape[1]
        return word_weights(step.backbone.tokenizer, prompts, words, length)
