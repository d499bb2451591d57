"""The edited views' noise predictor: ControlNet with the target control, what the editor changes, and
guidance scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

from qnerf.attention.hooks import CONDITIONAL, NULL, SOURCE_CONTROL, Batch, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.backbones.words import Prompts
from qnerf.denoising.combination import keep_background, pushed_from
from qnerf.denoising.source import SourceReader
from qnerf.scenes.region import EditedRegion

if TYPE_CHECKING:
    from qnerf.editors.editor import Editor


def unseen(clean: Tensor, k: int) -> None:
    """Nobody looks at the clean latents of step k."""


@dataclass(frozen=True)
class EditStep:
    """What an editor sees of one step of some views: step k of `steps`, of the rows of `batch`.

    views: which of all views, of which there are `all_views`. z: (V, 4, h, w), their latents. layers: the model's self-attention
    layers. source: reads the source's passes. region: where the edit happens, at the latents' size. prompts: of each view.
    """

    k: int
    steps: Steps
    batch: Batch
    views: slice
    all_views: int
    z: Tensor
    layers: tuple[AttentionLayer, ...]
    source: SourceReader
    region: EditedRegion
    backbone: DiffusionBackbone
    prompts: tuple[Prompts, ...]


@dataclass(frozen=True)
class EditBranch:
    """The edit of some of the views.

    views: which of all views, of which there are `all_views`. conditioning: the target prompt and control, of these views.
    guidance_scale: γ of the edit; 1 leaves the null prompt's pass out.
    region: where the edit happens, at the latents' size. reads: what the editor reads in the place of the source. predicted: the
    predictions by name that `noise` was last combined from. on_clean: is shown the clean latents that each step implies.
    on_disagreement: is told at each guided step how far the views' queries are from the field's; None: it is not measured.
    """

    backbone: DiffusionBackbone
    steps: Steps
    editor: Editor
    source: SourceReader
    views: slice
    all_views: int
    conditioning: Conditioning
    guidance_scale: float
    region: EditedRegion
    reads: SourceReader | None = None
    prompts: tuple[Prompts, ...] = ()
    predicted: dict[str, Tensor] = field(default_factory=dict)
    on_clean: Callable[[Tensor, int], None] = unseen
    on_disagreement: Callable[[float, int], None] | None = None

    @property
    def rows(self) -> tuple[str, ...]:
        """The predictions that a step combines, in the order of the batch; the conditional one is
        last."""
        scales = {SOURCE_CONTROL: self.editor.settings.control_guidance, NULL: self.guidance_scale}
        return (*(name for name, scale in scales.items() if scale != 1.0), CONDITIONAL)

    def noise(self, z: Tensor, k: int, edits: Edits | None = None) -> Tensor:
        """ε̂ (V, 4, h, w) of step k: ε(∅) + γ (ε - ε(∅)) + (s - 1)(ε - ε(source control)), ε the
        conditional noise.

        The first is classifier-free guidance; the last, of scale s = `editor.control_guidance`, pushes
        away from what the source's control would draw. `edits` come behind the editor's, and choose
        their rows by name.
        """
        rows = self.rows
        noise = self._predict(z, k, rows, edits)
        found = dict(zip(rows, noise.chunk(len(rows)), strict=True))
        self.predicted.clear()
        self.predicted.update(found)
        noise = conditional = found[CONDITIONAL]
        if NULL in found:
            noise = self.source.branch.inversion.guided(found[NULL], conditional, self.guidance_scale)
        if SOURCE_CONTROL in found:
            noise = pushed_from(noise, conditional, found[SOURCE_CONTROL], self.editor.settings.control_guidance)
        return noise

    def conditional_noise(self, z: Tensor, k: int, edits: Edits | None = None) -> Tensor:
        """ε of the conditional part alone."""
        return self._predict(z, k, (CONDITIONAL,), edits)

    def step(self, z: Tensor, noise: Tensor, k: int) -> Tensor:
        """State k + 1 of latents (V, 4, h, w) whose noise at step k was predicted: the DDIM step with
        what the editor makes of the predicted clean latents, and outside the object's region the
        inversion's own latents, if the editor is set so."""
        seen = self.seen(z, k, self.rows)
        noise = self.editor.steer(seen, noise)

        def revised(clean: Tensor) -> Tensor:
            clean = self.editor.revise(seen, self._drawn(clean, k))
            self.on_clean(clean, k)
            return clean

        z = self.source.trajectory.step(z, noise, self.steps, k, revised)
        if self.editor.settings.keep_background:
            z = keep_background(z, self.source.trajectory.states[k + 1], self.region)
        return self.editor.blend(seen, z)

    def _drawn(self, clean: Tensor, k: int) -> Tensor:
        """What the inversion makes of the predicted clean latents of step k, under guidance."""
        if NULL not in self.predicted:
            return clean
        null, conditional = self.predicted[NULL], self.predicted[CONDITIONAL]
        own, time = self.source.trajectory.states[-1], self.steps.timesteps[k]
        return self.source.branch.inversion.revise(clean, null, conditional, own, time)

    @contextmanager
    def attention(self, z: Tensor, k: int, rows: Sequence[str], edits: Edits | None = None) -> Iterator[None]:
        """The editor's changes at step k, and `edits` behind them, for as long as passes are run, or
        run again."""
        seen = self.seen(z, k, rows)
        with self.backbone.bound(self.editor.edits(seen) | (edits or Edits()), seen.batch):
            yield

    def _predict(self, z: Tensor, k: int, rows: Sequence[str], edits: Edits | None) -> Tensor:
        with self.attention(z, k, rows, edits):
            return self.run(z, k, rows)

    def run(self, z: Tensor, k: int, rows: Sequence[str]) -> Tensor:
        """The model's noise of the named rows, (rows · V, 4, h, w), within `attention`."""
        conditioning = Conditioning.joined(self.conditionings(k, rows)).at(k, len(self.steps))
        return self.backbone.predict(z.repeat(len(rows), 1, 1, 1), self.steps.timesteps[k], conditioning)

    def conditionings(self, k: int, rows: Sequence[str]) -> list[Conditioning]:
        """What each of the named rows is conditioned on at step k, each of V views."""
        parts = {
            CONDITIONAL: self.conditioning,
            NULL: replace(self.conditioning, text=self.editor.null_text(self, k)),
            SOURCE_CONTROL: replace(self.conditioning, controls=self.source.branch.conditioning.controls),
        }
        return [parts[name] for name in rows]

    def seen(self, z: Tensor, k: int, rows: Sequence[str]) -> EditStep:
        """What the editor sees of step k in a pass with these rows."""
        return EditStep(
            k=k,
            steps=self.steps,
            batch=Batch.of(k, rows, len(self.conditioning)),
            views=self.views,
            all_views=self.all_views,
            z=z,
            layers=self.backbone.layers,
            source=self.reads or self.source,
            region=self.region,
            backbone=self.backbone,
            prompts=self.prompts,
        )
