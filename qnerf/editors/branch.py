"""The edited views' noise predictor: ControlNet with the target control, and MasaCtrl against the source trajectory.

MasaCtrl: M. Cao et al., ICCV 2023: from denoising step S and self-attention layer L on, the target attends to the keys and
values of the *source branch*, which is the same view re-read from its inversion trajectory (METHOD §2.2).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.attention.edits import CaptureKeysValues, Edits, InjectKeysValues, attention_edits, merge_edits
from qnerf.attention.layers import self_attention_layers
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.editors.settings import EditorSettings, MasaCtrlSettings
from qnerf.editors.source_cache import KeysValues, SourceCache
from qnerf.inversions.ddim import DdimSteps, Trajectory
from qnerf.inversions.source_branch import SourceBranch
from qnerf.scenes.region import EditedRegion


@dataclass(frozen=True)
class EditBranch:
    """The edit of some of the views. text, null_text: (V, L, C). control: (V, 3, H, W), of the target.

    region: where the edit happens, at the latents' size.
    """

    backbone: DiffusionBackbone
    steps: DdimSteps
    editor: EditorSettings
    source: SourceBranch
    trajectory: Trajectory
    text: Tensor
    null_text: Tensor
    control: Tensor
    control_scale: float
    region: EditedRegion
    cache: SourceCache
    cache_key: Hashable

    @property
    def guidance_scale(self) -> float:
        """γ of the edit. Optimised null prompts only fit the scale that they were optimised for, so they bring it along."""
        scale = getattr(self.source.settings, "guidance_scale", 1.0)
        return self.editor.guidance_scale if self.trajectory.null_text is None else scale

    def noise(self, z: Tensor, k: int, edits: Edits | None = None) -> Tensor:
        """ε̂ (V, 4, h, w) of step k: ε + (γ - 1)(ε - ε(∅)) + (s - 1)(ε - ε(source control)), ε the conditional noise.

        The first term is classifier-free guidance; the second, of scale s = `editor.control_guidance`, pushes away from what
        the source's control would draw. `edits` come behind MasaCtrl's, on every part of the batch.
        """
        inputs = [(1.0, self.text, self.control)]
        if self.guidance_scale != 1.0:
            null = self.null_text if self.trajectory.null_text is None else self.trajectory.null_text[k]
            inputs.insert(0, (self.guidance_scale, null, self.control))
        if self.editor.control_guidance != 1.0:
            inputs.insert(0, (self.editor.control_guidance, self.text, self.source.control))
        scales, texts, controls = zip(*inputs, strict=True)
        with self.attention(k, edits):
            noises = self._predict(z.repeat(len(inputs), 1, 1, 1), k, torch.cat(texts), torch.cat(controls))
        *others, conditional = noises.chunk(len(inputs))
        noise = conditional
        for scale, other in zip(scales, others, strict=False):
            noise = noise + (scale - 1) * (conditional - other)
        return noise

    def keep_background(self, z: Tensor, state: int) -> Tensor:
        """Latents (V, 4, h, w) of a state; outside the object's region the inversion's own, if the editor is set so.

        Blended latent diffusion (Avrahami et al., SIGGRAPH 2023), with the inverted source for the noised one.
        """
        if not self.editor.keep_background:
            return z
        return torch.where(self.region.object[:, None] > 0, z, self.trajectory.states[state])

    def conditional_noise(self, z: Tensor, k: int) -> Tensor:
        """ε of the conditional part alone, to be asked for within `attention`."""
        return self._predict(z, k, self.text, self.control)

    @property
    def conditional_part(self) -> slice:
        """Where the conditional part lies in the batch that `noise` runs."""
        return slice(-len(self.text), None)

    @contextmanager
    def attention(self, k: int, edits: Edits | None = None) -> Iterator[None]:
        """MasaCtrl's injection at step k, if any, and `edits` behind it, for as long as passes are run, or run again."""
        with attention_edits(self.backbone.unet, merge_edits(self.masactrl_edits(k), edits or {})):
            yield

    def _predict(self, z: Tensor, k: int, text: Tensor, control: Tensor) -> Tensor:
        return self.backbone.predict(z, self.steps.timesteps[k], text, control, self.control_scale)

    def masactrl_edits(self, k: int) -> Edits:
        """MasaCtrl's injection at step k, or nothing before it starts."""
        editor = self.editor
        if not isinstance(editor, MasaCtrlSettings) or k < round(editor.start * len(self.steps)):
            return {}
        kept = self._source_keys_values(k, editor)
        injection = InjectKeysValues(kept, union=editor.keys == "union")
        return {layer: [injection] for layer in kept}

    def _source_keys_values(self, k: int, editor: MasaCtrlSettings) -> KeysValues:
        found = self.cache.get((self.cache_key, k))
        if found is not None:
            return found
        capture = CaptureKeysValues()
        layers = self_attention_layers(self.backbone.unet)[editor.start_layer :]
        with torch.no_grad():
            self.source.noise(self.trajectory.states[k], k, edits={layer: [capture] for layer in layers})
        self.cache.put((self.cache_key, k), capture.kept)
        return capture.kept
