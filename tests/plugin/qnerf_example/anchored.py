"""Anchored: the clean latents that a step predicts are drawn towards the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.editor import Editor, EditorSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.denoising.edit import EditStep


class AnchoredSettings(EditorSettings):
    """weight: how far, up to 1, all the way."""

    name: Literal["anchored"]
    weight: float = Field(default=0.2, ge=0, le=1)

    def build(self) -> Anchored:
        return Anchored(self)


class Anchored(Editor):
    settings: AnchoredSettings

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        source = step.source.trajectory.states[-1]
        return clean + self.settings.weight * (source - clean)
