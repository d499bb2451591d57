"""Prompt-to-Prompt (Hertz et al. 2022): the source's cross-attention maps, word by word, and its self-attention maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.backbones.words import word_problem, words_of
from qnerf.editors.editor import Editor, EditorSettings
from qnerf.editors.local_blend import BlendSettings, LocalBlend

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.attention.maps import RecordMaps
    from qnerf.denoising.edit import EditStep

    Change = Callable[[AttentionLayer, Tensor], Tensor]


class P2pSettings(EditorSettings):
    """cross_steps, self_steps: shares of the denoising steps, from the first on, with the source's cross- and self-attention maps.
    words: "replace": the words of two prompts of equally many words correspond in their order; "refine": those that both prompts
    have, and new ones keep their own maps. weights: a factor by word of the target's prompt for its map, not renormalised.
    local_blend: where latents may change."""

    name: Literal["p2p"]
    words: Literal["replace", "refine"] = "refine"
    cross_steps: float = Field(default=0.4, ge=0, le=1)
    self_steps: float = Field(default=0.6, ge=0, le=1)
    weights: dict[str, float] = Field(default_factory=dict)
    local_blend: BlendSettings = BlendSettings()

    def source_passes(self, steps: int) -> int:
        return steps if self.local_blend.used else int(max(self.cross_steps, self.self_steps) * steps)

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        counts = [len(words_of(prompt)) for prompt in (source_prompt, target_prompt)]
        if self.words == "replace" and counts[0] != counts[1]:
            return (
                f"editor.words: replace needs prompts of equally many words, but {source_prompt!r} has {counts[0]} and "
                f"{target_prompt!r} {counts[1]}: use refine, or reword one"
            )
        found = word_problem("editor.weights", self.weights, target_prompt)
        return found or self.local_blend.problem("editor.local_blend", source_prompt, target_prompt)

    def build(self) -> P2p:
        return P2p(self)


class P2p(Editor):
    """State: that of the local blend."""

    settings: P2pSettings

    def __init__(self, settings: P2pSettings) -> None:
        super().__init__(settings)
        self.local_blend = LocalBlend(settings.local_blend)

    def edits(self, step: EditStep) -> Edits:
        from qnerf.attention.hooks import CONDITIONAL, Edits
        from qnerf.attention.maps import AttendAs, ChangeProbs, RecordMaps, RecordQueriesKeys, not_full, of_the_prompt, sixteenth

        s, cross = self.settings, step.backbone.cross_attention_layers
        replaced = cross if step.k < int(s.cross_steps * len(step.steps)) else ()
        own = not_full(step.layers) if step.k < int(s.self_steps * len(step.steps)) else ()
        blended = sixteenth(cross) if s.local_blend.used else ()
        if not (replaced or own or blended):
            return Edits()
        maps, queries, rows = RecordMaps(), RecordQueriesKeys(), of_the_prompt(step.batch)
        step.source.read(step.k, [CONDITIONAL], Edits.at(replaced or blended, maps) | Edits.at(own, queries))
        edits = Edits.at(own, AttendAs(rows, queries.kept))
        if replaced:
            edits |= Edits.at(replaced, ChangeProbs(rows, self._mapped(step, maps)))
        if blended:  # behind the replacement, as in the authors' code: the maps that are used
            edits |= Edits.at(blended, self.local_blend.records(step, {layer: maps.maps[layer] for layer in blended}))
        return edits

    def _mapped(self, step: EditStep, source: RecordMaps) -> Change:
        """The change of the target's maps (V, heads, n, L): the source's by words, and their weights."""
        import torch

        from qnerf.editors.p2p_words import equaliser, refinement_mapper, replacement_mapper

        s, device, length = self.settings, step.z.device, step.source.branch.conditioning.text.shape[1]
        tokenizer, pairs = step.backbone.tokenizer, [(prompts.source, prompts.target) for prompts in step.prompts]
        factors = torch.stack([equaliser(tokenizer, target, s.weights, length) for _, target in pairs]).to(device)[:, None, None]
        if s.words == "replace":
            mappers = torch.stack([replacement_mapper(tokenizer, *pair, length) for pair in pairs]).to(device)[:, None]
            return lambda layer, p: (source.maps[layer] @ mappers.to(p.dtype)) * factors.to(p.dtype)
        found = zip(*(refinement_mapper(tokenizer, *pair, length) for pair in pairs), strict=True)
        places, alpha = (torch.stack(each).to(device)[:, None, None] for each in found)

        def refined(layer: AttentionLayer, p: Tensor) -> Tensor:
            share = alpha.to(p.dtype)
            own = source.maps[layer].gather(3, places.expand_as(p))
            return (share * own + (1 - share) * p) * factors.to(p.dtype)

        return refined

    def blend(self, step: EditStep, z: Tensor) -> Tensor:
        return self.local_blend.blend(step, z) if self.settings.local_blend.used else z

    def state(self) -> dict[str, Tensor]:
        return self.local_blend.kept

    def restore(self, state: dict[str, Tensor]) -> None:
        self.local_blend.kept = state
