"""The source branch: the predictor that inverts and reconstructs, and whose passes editors read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnerf.attention.edits import KeysValues, RecordKeysValues
from qnerf.attention.hooks import CONDITIONAL, NULL, Batch, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.process import Steps
from qnerf.common.finite import FiniteWatch
from qnerf.denoising.combination import guided_noise
from qnerf.denoising.ddim import NoisePredictor, Trajectory
from qnerf.denoising.source_cache import SourceCache

if TYPE_CHECKING:
    from qnerf.inversions.inversion import Inversion


@dataclass(frozen=True)
class SourceBranch:
    """The source predictor of some views: source prompt and control, and the inversion's own changes.

    conditioning: the source prompt and control of N views. null_text: (N, L, C). negative: (N, L, C), what edits are steered away
    from in its place; None: the null text. view_names: of these views, for errors; none: their numbers. first_view: the number of
    the first, which what is drawn for a view goes by.
    """

    backbone: DiffusionBackbone
    steps: Steps
    inversion: Inversion
    conditioning: Conditioning
    null_text: Tensor
    view_names: Sequence[str] = ()
    first_view: int = 0
    negative: Tensor | None = None

    def noise(self, z: Tensor, k: int, text: Tensor | None = None, edits: Edits | None = None) -> Tensor:
        """ε of one prompt at step k, by default that of the inversion's conditional pass."""
        text = self.inversion.text(self) if text is None else text
        return self.run(z, Batch.of(k, [CONDITIONAL], len(z)), [text], edits)

    def run(self, z: Tensor, batch: Batch, texts: Sequence[Tensor], edits: Edits | None = None) -> Tensor:
        """The noise of latents z (rows, C, h, w), a text for each named part of the batch, under the source's control.

        batch.step: the state at whose time the model is asked; beyond the last step that is the clean one.
        """
        k = min(batch.step, len(self.steps) - 1)
        conditioning = Conditioning.joined([replace(self.conditioning, text=text) for text in texts]).at(k, len(self.steps))
        with self.backbone.bound(self.inversion.edits(self.backbone) | (edits or Edits()), batch):
            return self.backbone.predict(z, self.steps.time(batch.step), conditioning)

    def auxiliary_noise(self, z: Tensor, k: int) -> Tensor:
        """ε of the inversion's auxiliary branch at step k: under the null prompt."""
        return self.noise(z, k, self.null_text, self.inversion.auxiliary_edits(self.backbone))

    def guided(self, scale: float, null_text: Tensor | None = None) -> NoisePredictor:
        """The predictor at a guidance scale γ. null_text: (T, N, L, C), the ∅ of every step where it
        was optimised."""
        if scale == 1.0:
            return self.noise
        return partial(self._guided_noise, scale=scale, null_rows=null_text)

    def _guided_noise(self, z: Tensor, k: int, scale: float, null_rows: Tensor | None) -> Tensor:
        null = self.null_text if null_rows is None else null_rows[k]
        return guided_noise(self.noise(z, k, null), self.noise(z, k), scale)

    @torch.no_grad()
    def invert(self, clean: Tensor) -> Trajectory:
        """Invert clean latents (N, 4, h, w). Raises UserError where a step of it gives NaN or infinities."""
        return self.checked(self.inversion.invert(self, clean))

    def checked(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory, if it is finite. Raises UserError naming the step and the view where it is not."""
        watch = self._watch("inversion")
        for name, values in trajectory.tensors().items():  # the states come first
            walk = range(len(values))
            for k in reversed(walk) if name == "states" else walk:  # as the inversion walks
                watch.see(values[k], min(k, len(self.steps) - 1))
            watch.check()
        return trajectory

    @torch.no_grad()
    def reconstruct(self, trajectory: Trajectory, scale: float | None = None) -> Tensor:
        """Denoise from the noisiest state without any edit: clean latents (N, 4, h, w). Where the inversion has an auxiliary
        branch, that is the one which reconstructs.

        scale: γ; by default the one at which the inversion claims to reconstruct. Raises UserError where a step of it gives NaN
        or infinities.
        """
        scale = self.inversion.settings.reconstruction_scale if scale is None else scale
        watch, z, predictor = self._watch("reconstruction"), trajectory.states[0], self.guided(scale, trajectory.null_text)
        if trajectory.auxiliary is not None:
            z, predictor = trajectory.auxiliary[0], self.auxiliary_noise
        for k in range(len(self.steps)):
            if trajectory.offsets is not None:  # they have put it there, but for rounding, which γ amplifies from step to step
                z = trajectory.states[k]
            noise = predictor(z, k)
            watch.see(noise, k)
            z = trajectory.source_step(z, noise, self.steps, k)
        watch.see(z, len(self.steps) - 1)
        watch.check()
        return z

    def _watch(self, stage: str) -> FiniteWatch:
        return FiniteWatch(stage, self.backbone.dtype, len(self.conditioning), self.backbone.device, self.view_names)


@dataclass(frozen=True)
class SourceReader:
    """Reads the source branch's passes along the inversion's trajectory, for editors. Nothing of it
    depends on the edit.

    key: names the views in the cache.
    """

    branch: SourceBranch
    trajectory: Trajectory
    cache: SourceCache
    key: Hashable

    @property
    def views(self) -> int:
        return len(self.branch.conditioning)

    def null_text(self, k: int) -> Tensor:
        """∅ of step k, (V, L, C): the optimised one where there is one, else the negative prompt if there is one."""
        if self.trajectory.null_text is not None:
            return self.trajectory.null_text[k]
        return self.branch.null_text if self.branch.negative is None else self.branch.negative

    @torch.no_grad()
    def read(self, k: int, rows: Sequence[str], edits: Edits) -> None:
        """One pass at step k with the named rows, CONDITIONAL and NULL, for the edits that record
        it."""
        texts = {CONDITIONAL: self.branch.inversion.text(self.branch), NULL: self.null_text(k)}
        z = self.trajectory.states[k].repeat(len(rows), 1, 1, 1)
        self.branch.run(z, Batch.of(k, rows, self.views), [texts[name] for name in rows], edits)

    def keys_values(self, k: int, layers: Sequence[AttentionLayer], rows: Sequence[str]) -> tuple[KeysValues, Batch]:
        """Keys and values of the layers at step k, and which of their rows are what. Kept between
        visits of the step."""
        batch, key = Batch.of(k, rows, self.views), (self.key, k, tuple(rows), tuple(layers))
        kept = self.cache.get(key)
        if kept is None:
            record = RecordKeysValues()
            self.read(k, rows, Edits.at(layers, record))
            kept = record.kept
            self.cache.put(key, kept)
        return kept, batch
