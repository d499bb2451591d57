"""TokenFlow (Geyer et al., ICLR 2024; docs/method.md §5.3): attention outputs of a few key views, carried to all others.

Views go in batches, in order; at every step one view of each is drawn as its key. A pass of the key views comes first, in which
they attend to one another in all layers, with Plug-and-Play's feature and maps of the source. In all views the output of every
self-attention layer is then gathered from the key views of the own batch and of the one before, at the tokens whose source
features (behind `norm1`) are nearest, and blended by w = sigmoid(d₂ / (d₁ + d₂)), d the distances of the view's number from the
two batches' centres.

Not as published: a key view has its own output unblended, so that with every view a key view this is extended attention; the
inversion is the run's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.editors.base import SourceText
from qnerf.editors.editor import Editor, EditorSettings
from qnerf.editors.pnp_layers import FEATURE, decoder_layers
from qnerf.editors.source_features import SourceFeatures

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.attention.propagation import Flow, Outputs
    from qnerf.denoising.edit import EditBranch, EditStep
    from qnerf.denoising.source import SourceReader


class TokenFlowSettings(EditorSettings):
    """batch: views of which one is the key view; 1: all are. feature_steps, attention_steps, feature_text: as of pnp."""

    name: Literal["tokenflow"]
    batch: int = Field(default=8, ge=1)
    feature_steps: float = Field(default=0.8, ge=0, le=1)
    attention_steps: float = Field(default=0.5, ge=0, le=1)
    feature_text: SourceText = "empty"

    def source_passes(self, steps: int) -> int:
        """One for the view's own features, and one for those of key views."""
        return 2 * steps

    def own_passes(self, steps: int) -> int:
        """Of key views; at most all are."""
        return steps

    def build(self) -> TokenFlow:
        return TokenFlow(self)


class TokenFlow(Editor):
    settings: TokenFlowSettings
    joint = True

    def __init__(self, settings: TokenFlowSettings) -> None:
        super().__init__(settings)
        self._keys: list[int] = []
        self._features: dict[AttentionLayer, Tensor] = {}
        self._outputs: Outputs = {}

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        """The source's features of the key views, and a pass of these views together."""
        from qnerf.attention.hooks import Edits
        from qnerf.attention.propagation import AttendTogether
        from qnerf.denoising.chosen import run_chosen

        self._keys = key_views(len(z), self.settings.batch, k)
        found: list[SourceFeatures] = []
        for branch, _ in branches():
            own = [key - branch.views.start for key in self._keys if branch.views.start <= key < branch.views.stop]
            if own:
                found.append(self._read(branch.reads or branch.source, branch.backbone.layers, k, len(branch.steps)).rows(own))
        source = SourceFeatures.joined(found)
        one = next(branches())[0]
        together = AttendTogether(source.maps)
        edits = Edits.at(one.backbone.layers, together) | self._injected(source, one.rows)
        run_chosen(self._keys, k, z, branches, edits)
        self._features, self._outputs = source.tokens, together.kept

    def edits(self, step: EditStep) -> Edits:
        from qnerf.attention.hooks import Edits
        from qnerf.attention.propagation import Propagate

        source = self._read(step.source, step.layers, step.k, len(step.steps))
        flows = [self._flow(view, place, source) for place, view in enumerate(range(step.views.start, step.views.stop))]
        return Edits.at(step.layers, Propagate(self._outputs, flows)) | self._injected(source, tuple(step.batch.rows))

    def _flow(self, view: int, place: int, source: SourceFeatures) -> Flow:
        """Of a view, which is number `place` of the chunk."""
        from qnerf.attention.propagation import Flow, nearest_tokens

        own = self._keys.index(view) if view in self._keys else None
        batch = view // self.settings.batch
        before, nearest = max(batch - 1, 0), {}
        if own is None:
            for layer, tokens in source.tokens.items():
                keys = self._features[layer]
                nearest[layer] = tuple(nearest_tokens(tokens[place], keys[key]) for key in (batch, before))
        return Flow(own, batch, before, blend_weight(view, self.settings.batch) if before < batch else 1.0, nearest)

    def _read(self, reader: SourceReader, layers: tuple[AttentionLayer, ...], k: int, steps: int) -> SourceFeatures:
        """One pass of the source that keeps what TokenFlow reads of it."""
        from qnerf.attention.edits import RecordOutput
        from qnerf.attention.hooks import CONDITIONAL, NULL, Edits
        from qnerf.attention.maps import RecordQueriesKeys

        attention, feature = (k < int(share * steps) for share in (self.settings.attention_steps, self.settings.feature_steps))
        maps, outputs = RecordQueriesKeys(), RecordOutput()
        norms = {layer: layer.path.removesuffix("attn1") + "norm1" for layer in layers}
        paths = [*norms.values(), *([FEATURE] if feature else [])]
        recorders = Edits(dict.fromkeys(decoder_layers(layers) if attention else (), (maps,)), dict.fromkeys(paths, (outputs,)))
        reader.read(k, [NULL if self.settings.feature_text == "empty" else CONDITIONAL], recorders)
        tokens = {layer: outputs.kept[path] for layer, path in norms.items()}
        return SourceFeatures(tokens, maps.kept, outputs.kept.get(FEATURE))

    @staticmethod
    def _injected(source: SourceFeatures, rows: tuple[str, ...]) -> Edits:
        """Plug-and-Play's feature of the source in all predictions."""
        from qnerf.attention.edits import ReplaceOutput
        from qnerf.attention.hooks import Edits

        return Edits() if source.feature is None else Edits({}, {FEATURE: (ReplaceOutput(rows, {FEATURE: source.feature}),)})


def key_views(views: int, batch: int, k: int) -> list[int]:
    """One view of each batch of views in order, drawn anew for every step k."""
    import numpy as np

    random = np.random.default_rng(k)
    return [int(random.integers(start, min(start + batch, views))) for start in range(0, views, batch)]


def blend_weight(view: int, batch: int) -> float:
    """w of the view's own batch: sigmoid(d₂ / (d₁ + d₂)), d₁ and d₂ the distances from its centre and from that of the batch
    before."""
    centre = view // batch * batch + (batch - 1) / 2
    here, before = abs(view - centre), abs(view - centre + batch)
    return 1 / (1 + math.exp(-before / (here + before)))
