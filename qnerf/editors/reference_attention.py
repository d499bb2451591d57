"""Every view also attends to a few reference views (GaussCtrl, Wu et al., ECCV 2024; docs/method.md §5.4).

In every self-attention layer the output is `own` of the view's own attention and the rest the mean of its attentions to each of the
reference views, in all predictions. References attend to one another likewise, so that a pass of all of them comes first.

Not as published: the references are the views in the middle of equal parts of the views' order, not drawn from them at random; the
ControlNet's own self-attention is left alone; and the control is the run's, not the depth of a field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.editor import Editor, EditorSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.edits import KeysValues
    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep


class ReferenceAttentionSettings(EditorSettings):
    """references: number of reference views; 0: the plain editor. own: share of a view's own attention, the rest is that to the
    references."""

    name: Literal["reference_attention"]
    references: int = Field(default=4, ge=0)
    own: float = Field(default=0.6, ge=0, le=1)

    def own_passes(self, steps: int) -> int:
        """One more a step, if all views are references."""
        return steps if self.references else 0

    def without_effect(self, steps: int) -> set[str]:
        return set() if self.references else {"own"}

    def build(self) -> ReferenceAttention:
        return ReferenceAttention(self)


class ReferenceAttention(Editor):
    settings: ReferenceAttentionSettings
    joint = True

    def __init__(self, settings: ReferenceAttentionSettings) -> None:
        super().__init__(settings)
        self._references: dict[str, KeysValues] = {}

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        """One pass of the reference views alone, whose keys and values all views then attend to."""
        from qnerf.attention.edits import AttendToReferences
        from qnerf.attention.hooks import Edits
        from qnerf.denoising.chosen import run_chosen

        if not self.settings.references:
            return
        attend, layers = AttendToReferences(self.settings.own), next(branches())[0].backbone.layers
        run_chosen(reference_views(len(z), self.settings.references), k, z, branches, Edits.at(layers, attend))
        self._references = attend.kept

    def edits(self, step: EditStep) -> Edits:
        from qnerf.attention.edits import AttendToReferences
        from qnerf.attention.hooks import Edits

        if not self.settings.references:
            return Edits()
        return Edits.at(step.layers, AttendToReferences(self.settings.own, self._references))


def reference_views(views: int, count: int) -> list[int]:
    """The middle views of `count` equal parts of the views' order; all views if there are no more."""
    return sorted({int((part + 0.5) * views / count) for part in range(count)})
