"""Free-Prompt-Editing (B. Liu et al., CVPR 2024): the source's self-attention maps in the place of the target's.

Only maps are replaced. The target's queries stay its own, so that those recorded for a query field are the edit's
(docs/method.md §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.base import SourceText
from qnerf.editors.editor import Editor, EditorSettings

if TYPE_CHECKING:
    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditStep


class FpeSettings(EditorSettings):
    """map_steps: share of the denoising steps, from the first on, whose maps are replaced. map_layers: the self-attention layers
    whose maps are, counted from 0 in order of execution; None: those of at most (latent side / 2)² tokens, as in the authors' code.
    map_text: the prompt under which the source's maps are read: "empty", as published; "source" the inversion's."""

    name: Literal["fpe"]
    map_steps: float = Field(default=0.8, ge=0, le=1)
    map_layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    map_text: SourceText = "empty"

    def source_passes(self, steps: int) -> int:
        return int(self.map_steps * steps)

    def without_effect(self, steps: int) -> set[str]:
        return {"map_layers"} if self.map_layers is None else set()

    @property
    def named_layers(self) -> dict[str, tuple[int, ...]]:
        return {} if self.map_layers is None else {"editor.map_layers": self.map_layers}

    def build(self) -> Fpe:
        return Fpe(self)


class Fpe(Editor):
    settings: FpeSettings

    def edits(self, step: EditStep) -> Edits:
        """In the layers that are named, else in those of at most (latent side / 2)² tokens; the null prompt's prediction keeps its
        own maps."""
        from qnerf.attention.hooks import CONDITIONAL, NULL, Edits
        from qnerf.attention.layers import select_layers
        from qnerf.attention.maps import AttendAs, RecordQueriesKeys, not_full, of_the_prompt

        if step.k >= int(self.settings.map_steps * len(step.steps)):
            return Edits()
        named, record = self.settings.map_layers, RecordQueriesKeys()
        layers = not_full(step.layers) if named is None else select_layers(step.layers, named, "editor.map_layers")
        step.source.read(step.k, [NULL if self.settings.map_text == "empty" else CONDITIONAL], Edits.at(layers, record))
        return Edits.at(layers, AttendAs(of_the_prompt(step.batch), record.kept))
