"""Spatial-temporal attention (Wu et al., ICCV 2023), over any editor: where an object is, cross-attention is to a prompt of its own
too, by a weight that may change over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from qnerf.backbones.words import word_problem
from qnerf.editors.base import AdditionSettings, Part

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.edits import KeysValues
    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.denoising.edit import EditStep

KEY = "editor.additions.spatial_temporal"
Share = Annotated[float, Field(ge=0, le=1)]


class SpatialTemporalSettings(AdditionSettings):
    """objects: by words of the target's prompt, their centre in every view: across and down, as shares of the picture; null: they
    are in the object's region of each view. radius: of what is round a centre, as a share of the picture. prompt: of an object,
    with {} for its words. weight: of all objects' prompts together, at the first step; last_weight: at the last, linear between;
    None: the same. The authors start from 4 at every step, and optimise the weights by CLIP, which is not built.
    """

    name: Literal["spatial_temporal"]
    objects: dict[str, tuple[Share, Share] | None] = Field(default_factory=dict)
    radius: float = Field(default=0.2, gt=0)
    prompt: str = "a photo of {}"
    weight: float = Field(default=4.0, ge=0)
    last_weight: float | None = Field(default=None, ge=0)

    @field_validator("prompt")
    @classmethod
    def _has_a_place(cls, prompt: str) -> str:
        if prompt.count("{}") != 1:
            raise ValueError(f"{prompt!r} has {prompt.count('{}')} places for the object's words; expected one {{}}: 'a {{}}'")
        return prompt

    def own_passes(self, steps: int) -> int:
        return len(self.objects)

    def without_effect(self, steps: int) -> set[str]:
        return set() if any(self.objects.values()) else {"radius"}

    @property
    def region_key(self) -> str | None:
        return f"{KEY}.objects" if None in self.objects.values() else None

    def problem(self, source_prompt: str, target_prompt: str) -> str | None:
        if not self.objects:
            return f"{KEY}.objects: none given; expected where words of the target's prompt are: +{KEY}.objects.hat=[.5,.2]"
        return word_problem(f"{KEY}.objects", self.objects, target_prompt)

    def weight_at(self, k: int, steps: int) -> float:
        """Of one object, at step k."""
        last = self.weight if self.last_weight is None else self.last_weight
        return (self.weight + (last - self.weight) * k / max(steps - 1, 1)) / len(self.objects)

    def build(self) -> SpatialTemporal:
        return SpatialTemporal(self)


class SpatialTemporal(Part):
    """Keys and values of the objects' prompts are functions of these alone, so that they are no state."""

    settings: SpatialTemporalSettings

    def __init__(self, settings: SpatialTemporalSettings) -> None:
        super().__init__(settings)
        self._local: dict[str, KeysValues] = {}

    def edits(self, step: EditStep) -> Edits:
        """In all cross-attention layers, of the prompt's prediction: out + Σ λ m_i (out_i - out)."""
        from qnerf.attention.hooks import Edits
        from qnerf.attention.maps import DrawToPrompts, of_the_prompt

        layers, s = step.backbone.cross_attention_layers, self.settings
        weight = s.weight_at(step.k, len(step.steps))
        shares = [{layer: weight * self._inside(step, layer, centre) for layer in layers} for centre in s.objects.values()]
        local = [self._keys_values(step, words) for words in s.objects]
        return Edits.at(layers, DrawToPrompts(of_the_prompt(step.batch), local, shares))

    def _keys_values(self, step: EditStep, words: str) -> KeysValues:
        """Of an object's prompt, in all cross-attention layers, (1, heads, L, d). They are those of any latents."""
        import torch

        from qnerf.attention.edits import RecordKeysValues
        from qnerf.attention.hooks import CONDITIONAL, Batch, Edits

        if words not in self._local:
            record, source = RecordKeysValues(), step.source
            text = step.backbone.embed([self.settings.prompt.format(words)]).expand(source.views, -1, -1)
            edits, batch = Edits.at(step.backbone.cross_attention_layers, record), Batch.of(step.k, [CONDITIONAL], source.views)
            with torch.no_grad():
                source.branch.run(source.trajectory.states[step.k], batch, [text], edits)
            self._local[words] = {layer: (k[:1].clone(), v[:1].clone()) for layer, (k, v) in record.kept.items()}
        return self._local[words]

    def _inside(self, step: EditStep, layer: AttentionLayer, centre: tuple[float, float] | None) -> Tensor:
        """(V, n), 0 or 1."""
        import torch

        from qnerf.scenes.region import tokens_inside

        rows, columns = layer.token_grid(step.backbone.latent_size)
        if centre is None:
            return tokens_inside(step.region.object, rows, columns).flatten(1).to(step.z.dtype)
        down, across = torch.arange(rows) / rows - centre[1], torch.arange(columns) / columns - centre[0]
        inside = down[:, None].square() + across.square() < self.settings.radius**2
        return inside.flatten().expand(len(step.z), -1).to(step.z)
