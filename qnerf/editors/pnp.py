"""Plug-and-Play (Tumanyan et al., CVPR 2023): a feature of the decoder and its self-attention maps are the source's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.base import SourceText
from qnerf.editors.editor import Editor, EditorSettings
from qnerf.editors.pnp_layers import FEATURE, decoder_layers

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep


class PnpSettings(EditorSettings):
    """feature_steps, attention_steps: shares of the denoising steps, from the first on, whose feature, and whose
    self-attention maps, are the source's. feature_text: the prompt under which the source is read: "empty", as
    published; "source" the inversion's. negative_prompt: what the edit is guided away from; "": the null prompt.
    """

    name: Literal["pnp"]
    feature_steps: float = Field(default=0.8, ge=0, le=1)
    attention_steps: float = Field(default=0.5, ge=0, le=1)
    feature_text: SourceText = "empty"
    negative_prompt: str = ""

    def source_passes(self, steps: int) -> int:
        return int(max(self.feature_steps, self.attention_steps) * steps)

    def build(self) -> Pnp:
        return Pnp(self)


class Pnp(Editor):
    settings: PnpSettings

    def __init__(self, settings: PnpSettings) -> None:
        super().__init__(settings)
        self._negative: Tensor | None = None

    def null_text(self, branch: EditBranch, k: int) -> Tensor:
        if not self.settings.negative_prompt:
            return super().null_text(branch, k)
        if self._negative is None:
            self._negative = branch.backbone.embed([self.settings.negative_prompt])
        return self._negative.expand(len(branch.conditioning), -1, -1)

    def edits(self, step: EditStep) -> Edits:
        """In all predictions, the null prompt's too."""
        from qnerf.attention.edits import RecordOutput, ReplaceOutput
        from qnerf.attention.hooks import CONDITIONAL, NULL, Edits
        from qnerf.attention.maps import AttendAs, RecordQueriesKeys

        features, attention = (
            step.k < int(share * len(step.steps)) for share in (self.settings.feature_steps, self.settings.attention_steps)
        )
        if not features and not attention:
            return Edits()
        maps, output, rows = RecordQueriesKeys(), RecordOutput(), tuple(step.batch.rows)
        layers = decoder_layers(step.layers) if attention else ()
        recorders = Edits(dict.fromkeys(layers, (maps,)), {FEATURE: (output,)} if features else {})
        step.source.read(step.k, [NULL if self.settings.feature_text == "empty" else CONDITIONAL], recorders)
        replaced = {FEATURE: (ReplaceOutput(rows, output.kept),)} if features else {}
        return Edits(dict.fromkeys(layers, (AttendAs(rows, maps.kept),)), replaced)
