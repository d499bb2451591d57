"""Prompt-to-Prompt's local blend: latents change only where cross-attention sees some words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.backbones.words import word_problem, word_weights
from qnerf.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.attention.maps import RecordMaps
    from qnerf.denoising.edit import EditStep

    Maps = Mapping[AttentionLayer, Tensor]


class BlendSettings(Settings):
    """source, target: words of the two prompts; latents change where any of them is seen, and stay the source's elsewhere. None:
    they change everywhere. subtract_source, subtract_target: but not where any of these is seen. threshold: of a map over its
    maximum. start: share of the steps before it."""

    source: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    subtract_source: tuple[str, ...] = ()
    subtract_target: tuple[str, ...] = ()
    threshold: float = Field(default=0.3, ge=0)
    start: float = Field(default=0.2, ge=0, le=1)

    @property
    def used(self) -> bool:
        return bool(self.source or self.target)

    def problem(self, where: str, source_prompt: str, target_prompt: str) -> str | None:
        """A sentence where a word is not in its prompt, or None. where: the key of these settings."""
        lists = (
            ("source", self.source, source_prompt),
            ("target", self.target, target_prompt),
            ("subtract_source", self.subtract_source, source_prompt),
            ("subtract_target", self.subtract_target, target_prompt),
        )
        return next((found for key, words, prompt in lists if (found := word_problem(f"{where}.{key}", words, prompt))), None)


class LocalBlend:
    """kept: the sums over the steps of the maps of the words (N, 2, n), those that are blended and those that are subtracted, of
    the `source` and of the `target`. {} before the first step."""

    def __init__(self, settings: BlendSettings) -> None:
        self.settings = settings
        self.kept: dict[str, Tensor] = {}
        self._seen: dict[tuple[int, int], tuple[Tensor, RecordMaps]] = {}

    def records(self, step: EditStep, source: Maps) -> RecordMaps:
        """The recorder of the target's maps in this pass; the last pass before `blend` counts. source: the source's maps."""
        from qnerf.attention.maps import RecordMaps

        record = RecordMaps()
        self._seen[step.views.start, step.views.stop] = self._words(step, "source", source), record
        return record

    def blend(self, step: EditStep, z: Tensor) -> Tensor:
        """x_src + m (x - x_src), m from the maps of all steps so far."""
        import torch

        source, record = self._seen.pop((step.views.start, step.views.stop))
        for name, maps in (("source", source), ("target", self._words(step, "target", record.maps))):
            if name not in self.kept:
                self.kept[name] = torch.zeros(step.all_views, *maps.shape[1:], dtype=maps.dtype)
            self.kept[name][step.views] += maps.to(self.kept[name].device)
        if step.k < int(self.settings.start * len(step.steps)):
            return z
        before = step.source.trajectory.states[step.k + 1]
        return before + self._mask(step, z) * (z - before)

    def _words(self, step: EditStep, name: Literal["source", "target"], maps: Maps) -> Tensor:
        """(V, 2, n), of a pass's maps."""
        import torch

        from qnerf.attention.maps import word_maps

        prompts, length = [getattr(each, name) for each in step.prompts], step.source.branch.conditioning.text.shape[1]
        lists = [[getattr(self.settings, key)] * len(prompts) for key in (name, f"subtract_{name}")]
        weights = [word_weights(step.backbone.tokenizer, prompts, words, length) for words in lists]
        return torch.stack([word_maps(maps, each).detach() for each in weights], dim=1)

    def _mask(self, step: EditStep, z: Tensor) -> Tensor:
        """(V, 1, h, w), 0 or 1."""
        size, s = (z.shape[-2], z.shape[-1]), self.settings
        source, target = (self.kept[name][step.views].to(z.device) for name in ("source", "target"))
        mask = seen_mask(source[:, 0], target[:, 0], size, s.threshold, radius=1)
        if s.subtract_source or s.subtract_target:
            mask &= ~seen_mask(source[:, 1], target[:, 1], size, s.threshold, radius=0)
        return mask.to(z.dtype)


def seen_mask(source: Tensor, target: Tensor, size: tuple[int, int], threshold: float, radius: int) -> Tensor:
    """Where either of two maps (V, n), widened by a radius and brought to `size`, is above a share of its own maximum: (V, 1, h, w)
    bool. n tokens are a map of the proportions of `size`."""
    import torch
    import torch.nn.functional as F

    rows = round((source.shape[1] * size[0] / size[1]) ** 0.5)
    seen = []
    for maps in (source, target):
        wide = F.max_pool2d(maps.unflatten(1, (rows, -1))[:, None], 2 * radius + 1, stride=1, padding=radius)
        large = F.interpolate(wide, size)
        seen.append(large / large.amax(dim=(2, 3), keepdim=True).clamp_min(1e-12) > threshold)
    return torch.logical_or(*seen)
