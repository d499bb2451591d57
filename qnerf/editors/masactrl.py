"""MasaCtrl (M. Cao et al., ICCV 2023): mutual self-attention with the source branch.

From denoising step S and self-attention layer L on, the target attends to the keys and values of the
*source branch*, which is the same view re-read from its inversion trajectory (docs/method.md §2.2). Under
classifier-free guidance the null half reads the source's null half (docs/method.md §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.editor import Editor, EditorSettings

if TYPE_CHECKING:
    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditStep


class MasaCtrlSettings(EditorSettings):
    """start: share of the denoising steps before it starts (4 of 50 = 0.08). start_layer: first
    self-attention layer. keys: "replace" the target's keys and values by the source's, or attend to the
    "union" of both. source_cache_gib: memory for the keys and values of the source branch, which are
    recomputed where they do not fit. It should hold one interval of all views (embedded model: 1.4 MiB
    per view and step), or all steps if several methods use them.
    """

    name: Literal["masactrl"]
    start: float = Field(default=0.08, ge=0, le=1)
    start_layer: int = Field(default=10, ge=0)
    keys: Literal["replace", "union"] = "replace"
    source_cache_gib: float = Field(default=0.5, ge=0)

    @property
    def cache_gib(self) -> float:
        return self.source_cache_gib

    def first_step(self, steps: int) -> int:
        """The step at which it begins."""
        return round(self.start * steps)

    def source_passes(self, steps: int) -> int:
        return steps - self.first_step(steps)

    def source_bytes(self, steps: int, layer_bytes: float) -> float:
        return layer_bytes * steps

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
        return Edits.at(layers, InjectKeysValues(kept, source_rows, union=self.settings.keys == "union"))
