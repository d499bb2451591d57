"""How consolidated queries act on one denoising step of one chunk of views (METHOD §2.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.attention.edits import BlendQueries, CaptureQueries
from qnerf.attention.layers import AttentionLayer
from qnerf.editors.branch import EditBranch
from qnerf.guidance.settings import GuidanceSettings, HardSettings, MixedSettings, SoftSettings
from qnerf.guidance.steps import guides
from qnerf.scenes.region import tokens_inside


@dataclass(frozen=True)
class TargetQueries:
    """The queries to be guided by: maps (V, tokens, channels) of each layer, and its scale (standard deviation).

    trust: R² of the layer, at most 1. components: (channels, channels) of the layer, symmetric: a difference of queries
    times this matrix has each principal component scaled by the share of its variance that is explained, 0 to 1.
    """

    maps: dict[AttentionLayer, Tensor]
    scale: dict[AttentionLayer, float]
    trust: dict[AttentionLayer, float]
    components: dict[AttentionLayer, Tensor]

    def views(self, views: slice) -> TargetQueries:
        maps = {layer: x[views] for layer, x in self.maps.items()}
        return TargetQueries(maps, self.scale, self.trust, self.components)

    def to(self, device: torch.device) -> TargetQueries:
        maps, components = ({layer: x.to(device) for layer, x in part.items()} for part in (self.maps, self.components))
        return TargetQueries(maps, self.scale, self.trust, components)


def guided_noise_at(
    settings: GuidanceSettings, branch: EditBranch, z: Tensor, k: int, target: TargetQueries | None
) -> tuple[Tensor, Tensor]:
    """The latents (V, 4, h, w) from which the DDIM step k is to be taken, and the noise predicted there."""
    if target is None or not guides(settings, k, len(branch.steps)):
        return z, _no_grad_noise(branch, z, k)
    if isinstance(settings, SoftSettings):
        z = soft_step(settings, branch, z, k, target)
        return z, _no_grad_noise(branch, z, k)
    assert isinstance(settings, HardSettings | MixedSettings)
    blend = query_blend(settings, branch, target)
    with torch.no_grad():
        return z, branch.noise(z, k, {layer: [blend] for layer in target.maps})


def query_blend(settings: HardSettings | MixedSettings, branch: EditBranch, target: TargetQueries) -> BlendQueries:
    """The rendered queries in the place of the model's own, or of a share of them, in the tokens that cover any of the region."""
    region = guided_region(settings, branch)
    strength, components = 1.0, None
    if isinstance(settings, MixedSettings):
        strength, components = settings.strength, target.components if settings.weights == "component" else None
    share = {layer: strength * region_tokens(region, layer) for layer in target.maps}
    part = branch.conditional_part if settings.predictions == "conditional" else slice(None)
    return BlendQueries(part, target.maps, share, components)


def _no_grad_noise(branch: EditBranch, z: Tensor, k: int) -> Tensor:
    with torch.no_grad():
        return branch.noise(z, k)


def soft_step(settings: SoftSettings, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
    """`z - α ∇_z Σ_l ‖q(l) - Q̂(l)‖₂`: gradient steps on the latents (V, 4, h, w), one or `inner_steps` of α over their number."""
    region = guided_region(settings, branch)
    alpha = settings.strength / settings.inner_steps * (branch.steps.sigma(k) if settings.decay == "sigma" else 1.0)
    for _ in range(settings.inner_steps):
        gradient = region * query_gradient(settings, branch, z, k, target)
        length = 1.0 if settings.step == "raw" else _norm(region * z) / _norm(gradient).clamp_min(1e-12)
        z = z - alpha * length * gradient
    return z


def guided_region(settings: SoftSettings | HardSettings | MixedSettings, branch: EditBranch) -> Tensor:
    """Where the latents are guided: (V, 1, h, w), 0 or 1."""
    regions = {"moved": branch.region.moved, "object": branch.region.object, "all": torch.ones_like(branch.region.object)}
    return regions[settings.region][:, None]


def query_gradient(settings: SoftSettings, branch: EditBranch, z: Tensor, k: int, target: TargetQueries) -> Tensor:
    """∇_z of the sum over views of the `query_distance`, (V, 4, h, w).

    The conditional half alone is run: that is whose queries the field was trained on.
    """
    capture = CaptureQueries(slice(None))
    # Checkpointed blocks run again while the gradient is taken, so their attention has to stay edited until then.
    with (
        torch.enable_grad(),
        branch.attention(k, {layer: [capture] for layer in target.maps}),
        branch.backbone.checkpointing(settings.checkpointing),
    ):
        z = z.detach().requires_grad_(True)
        branch.conditional_noise(z, k)
        distance = query_distance(capture.queries, target, settings.weights, guided_region(settings, branch))
        (gradient,) = torch.autograd.grad(distance.sum(), z)
    return gradient


def query_distance(queries: dict[AttentionLayer, Tensor], target: TargetQueries, weights: str, region: Tensor) -> Tensor:
    """Σ_l ‖q(l) - Q̂(l)‖₂ over tokens and channels, in units of each layer's standard deviation: (V,).

    weights: as in `SoftSettings`. region: (V, 1, h, w); tokens that cover none of it do not count.
    The norm is taken view by view, so that views do not couple and chunks change nothing.
    """
    distances = []
    for layer, q in queries.items():
        difference = (q - target.maps[layer]) * region_tokens(region, layer)
        if weights == "component":
            difference = difference @ target.components[layer]
        weight = max(target.trust[layer], 0.0) if weights == "layer" else 1.0
        squared = difference.flatten(1).square().sum(dim=1)
        distances.append(weight / target.scale[layer] * (squared + 1e-12).sqrt())
    return torch.stack(distances).sum(dim=0)


def region_tokens(region: Tensor, layer: AttentionLayer) -> Tensor:
    """Which of a layer's tokens cover any of the region (V, 1, h, w): (V, tokens, 1), 0 or 1."""
    inside = tokens_inside(region[:, 0], *layer.token_grid((region.shape[-2], region.shape[-1])))
    return inside.flatten(1)[..., None].to(region.dtype)


def _norm(x: Tensor) -> Tensor:
    """Of each view: (V, 1, 1, 1)."""
    return x.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
