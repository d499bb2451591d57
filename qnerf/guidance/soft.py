"""Soft guidance: gradient steps on the latents towards the rendered queries (docs/method.md §2.5; Patashnik et
al. 2024, §4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.guidance.guidance import Guidance, RegionalGuidanceSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.targets import TargetQueries
    from qnerf.denoising.edit import EditBranch

GRADIENT_PASSES = 3
"""A forward pass, and a backward pass that costs as much as two."""


class SoftSettings(RegionalGuidanceSettings):
    """step_size: α. step: "relative" scales the gradient so that the step's RMS is step_size times the
    latent's RMS; "raw" is the paper's z - α∇. inner_steps: number of gradient steps, each of size
    α / inner_steps with a new gradient. decay: "sigma" multiplies α by sqrt(1 - ᾱ_t), "constant" does not.

    units: of the distance. "deviation" divides each layer's distance by the standard deviation of all
    its queries (ours), so that layers with large queries do not dominate; "queries" does not (the paper).

    weights: of the distance. A field cannot know the part of the queries that depends on the noise of
    each view. "equal": no weights. "layer": the field's R² of each layer. "component": its R² of each
    principal component of a layer's queries, measured on all views, including those that trained it.

    region: where the energy is measured and where latents move. checkpointing: recompute activations in
    the backward pass instead of storing them (Chen et al. 2016).
    """

    name: Literal["soft"]
    step_size: float = Field(default=0.03, gt=0)
    step: Literal["relative", "raw"] = "relative"
    inner_steps: int = Field(default=1, ge=1)
    decay: Literal["sigma", "constant"] = "sigma"
    units: Literal["deviation", "queries"] = "deviation"
    weights: Literal["equal", "layer", "component"] = "component"
    checkpointing: bool = False

    def step_passes(self, k: int, steps: int) -> int:
        if not self.guides(k, steps):
            return 1
        return 1 + (GRADIENT_PASSES + self.checkpointing) * self.inner_steps

    def build(self) -> Soft:
        return Soft(self)


class Soft(Guidance):
    settings: SoftSettings
    pulls = True

    def pulled(self, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
        """`z - α ∇_z Σ_l ‖q(l) - Q̂(l)‖₂`: gradient steps on z (V, 4, h, w), one or `inner_steps` of α
        over their number."""
        from qnerf.consolidation.targets import guided_region, tell_disagreement
        from qnerf.denoising.energy import energy_gradient

        s, region = self.settings, guided_region(branch, self.settings.region)
        alpha = s.step_size / s.inner_steps * (branch.steps.sigma[k] if s.decay == "sigma" else 1.0)
        for inner in range(s.inner_steps):
            energy = self.energy(target, region)
            gradient = region * energy_gradient(branch, z, k, energy, s.checkpointing)
            if not inner:
                tell_disagreement(branch, energy.seen, target, k)
            length = 1.0 if s.step == "raw" else _norm(region * z) / _norm(gradient).clamp_min(1e-12)
            z = z - alpha * length * gradient
        return z

    def energy(self, target: TargetQueries, region: Tensor) -> QueryDistance:
        return QueryDistance(target, self.settings, region)


class QueryDistance:
    """The energy Σ_l ‖q(l) - Q̂(l)‖₂ over tokens and channels, a number a view; in units of each
    layer's standard deviation unless the settings say otherwise.

    region: (V, 1, h, w); tokens that cover none of it do not count. The norm is taken view by view, so
    that views do not couple and chunks change nothing.
    """

    def __init__(self, target: TargetQueries, settings: SoftSettings, region: Tensor) -> None:
        from qnerf.attention.edits import RecordQueries

        self.target, self.settings, self.region = target, settings, region
        self.seen = RecordQueries()

    def edits(self) -> Edits:
        from qnerf.attention.hooks import Edits

        return Edits.at(tuple(self.target.maps), self.seen)

    def value(self) -> Tensor:
        """(V,)."""
        import torch

        distances = [self._distance(target, layer, q) for target in self.target.each for layer, q in self.seen.queries.items()]
        return torch.stack(distances).sum(dim=0)

    def _distance(self, target: TargetQueries, layer: AttentionLayer, q: Tensor) -> Tensor:
        """(V,) of one layer's queries (V, tokens, channels) to one target."""
        difference = (q - target.maps[layer]) * target.token_weights(self.region, layer)
        if self.settings.weights == "component":
            difference = difference @ target.components[layer]
        weight = max(target.r2[layer], 0.0) if self.settings.weights == "layer" else 1.0
        unit = target.scale[layer] if self.settings.units == "deviation" else 1.0
        squared = difference.flatten(1).square().sum(dim=1)
        return weight / unit * (squared + 1e-12).sqrt()


def _norm(x: Tensor) -> Tensor:
    """Of each view: (V, 1, 1, 1)."""
    return x.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
