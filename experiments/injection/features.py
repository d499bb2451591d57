"""Features of a pass as maps on their grids: read, transformed, and injected into another pass
(studies J25, J28, J29).

Features are those of Plug-and-Play (Tumanyan et al., CVPR 2023): queries and keys of the decoder's
self-attention but its first layer, in the first half of the steps, and the output of a convolution
of the decoder, in the first .8 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.hooks import AttentionCall, AttentionEdit, Batch, Edits, join_heads, split_heads
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.denoising.ddim import ddim_step, invert
from qnerf.denoising.noised import noised_states
from qnerf.denoising.source import SourceBranch
from qnerf.editors.pnp_layers import FEATURE, decoder_layers

FEATURE_STEPS, ATTENTION_STEPS = 0.8, 0.5

Features = Mapping[tuple[str, str], Tensor]
"""Maps (V, C, rows, columns) by name ("q", "k", "out") and module path."""


@dataclass(frozen=True)
class Transform:
    """A transformation of the picture that is exact on every grid. smooth: of pictures and
    features. cells: of noise and labels, whose values must stay what they are. upright: of a
    transformed picture, before classifiers that know upright ones look at it. seen: where (H, W) a
    transformed picture shows what the picture showed."""

    smooth: Callable[[Tensor], Tensor]
    cells: Callable[[Tensor], Tensor]
    upright: Callable[[Tensor], Tensor] = lambda x: x
    seen: Callable[[int, int], Tensor] = lambda height, width: torch.ones(height, width, dtype=torch.bool)


def moved(share: float) -> Transform:
    """To the right by a share of the width. Its border is repeated; noise goes round, as repeated
    noise would be none."""

    def shift(width: int) -> int:
        if (cells := share * width) != int(cells):
            raise ValueError(f"{share:g} of a grid of {width} columns is {cells:g}; expected whole columns: take another share")
        return int(cells)

    return Transform(
        lambda x: x[..., (torch.arange(x.shape[-1]) - shift(x.shape[-1])).clamp_min(0)],
        lambda x: torch.roll(x, shift(x.shape[-1]), dims=-1),
        seen=lambda height, width: (torch.arange(width) >= shift(width)).expand(height, width),
    )


def turned() -> Transform:
    """By 90 degrees, anticlockwise."""
    return Transform(*[lambda x: torch.rot90(x, 1, (-2, -1))] * 2, upright=lambda x: torch.rot90(x, -1, (-2, -1)))


def doubled() -> Transform:
    """The middle half of each side, twice as large: features bilinearly, noise cell by cell, which
    keeps its variance."""

    def middle(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % 4 or width % 4:
            raise ValueError(f"the middle half of {height} x {width} places is no whole number of them; expected multiples of 4")
        return x[..., height // 4 : height - height // 4, width // 4 : width - width // 4]

    return Transform(
        lambda x: F.interpolate(middle(x), scale_factor=2, mode="bilinear"),
        lambda x: middle(x).repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1),
    )


class Keep(AttentionEdit):
    """Keeps queries, keys and outputs as features, in the graph. size: (h, w) of the latents."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.kept: dict[tuple[str, str], Tensor] = {}

    def before(self, call: AttentionCall) -> AttentionCall:
        for name, x in (("q", call.q), ("k", call.k)):
            self.kept[name, call.layer.path] = join_heads(x).transpose(1, 2).unflatten(-1, call.layer.token_grid(self.size))
        return call

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor:
        self.kept["out", path] = x
        return x


class Inject(AttentionEdit):
    """Goes a share of the way from the pass's own features to given ones; 1 replaces them, which is
    Plug-and-Play."""

    def __init__(self, features: Features, share: float) -> None:
        self.features, self.share = features, share

    def before(self, call: AttentionCall) -> AttentionCall:
        def injected(name: str, x: Tensor) -> Tensor:
            given = split_heads(self.features[name, call.layer.path].flatten(2).transpose(1, 2), x.shape[1])
            return torch.lerp(x, given.to(x), self.share)

        return replace(call, q=injected("q", call.q), k=injected("k", call.k))

    def output(self, path: str, x: Tensor, batch: Batch) -> Tensor:
        return torch.lerp(x, self.features["out", path].to(x), self.share)


def edits_at(backbone: DiffusionBackbone, edit: Keep | Inject, k: int, count: int) -> Edits:
    """The edit at the layers whose features are read or injected at step k of `count`."""
    layers = decoder_layers(backbone.layers) if k < int(ATTENTION_STEPS * count) else ()
    return Edits(dict.fromkeys(layers, (edit,)), {FEATURE: (edit,)} if k < int(FEATURE_STEPS * count) else {})


def seen_at(branch: SourceBranch, z: Tensor, k: int) -> tuple[Tensor, Features]:
    """The noise of latents (V, 4, h, w) at step k, and the features of its pass."""
    keep = Keep(branch.backbone.latent_size)
    noise = branch.noise(z, k, edits=edits_at(branch.backbone, keep, k, len(branch.steps)))
    return noise, keep.kept


@torch.no_grad()
def forward_features(branch: SourceBranch, clean: Tensor, fixed_point: int = 0) -> list[Features]:
    """Of each step, while clean latents (V, 4, h, w) are inverted: of the pass that leads to the
    step's state, the last one where there are fixed-point iterations."""
    tape: list[Features] = [{} for _ in range(len(branch.steps))]

    def eps(z: Tensor, k: int) -> Tensor:
        noise, tape[k] = seen_at(branch, z, k)
        return noise

    invert(eps, clean, branch.steps, fixed_point=fixed_point)
    return tape


@torch.no_grad()
def reverse_features(branch: SourceBranch, noisiest: Tensor) -> list[Features]:
    """Of each step, while the noisiest latents of an inversion are denoised."""
    tape, z = [], noisiest
    for k in range(len(branch.steps)):
        noise, features = seen_at(branch, z, k)
        z = ddim_step(z, noise, branch.steps, k, k + 1)
        tape.append(features)
    return tape


@torch.no_grad()
def noise_features(branch: SourceBranch, clean: Tensor, seed: int) -> list[Features]:
    """Of each step, of the clean latents under noise of the step's own."""
    states = noised_states(clean, branch.steps, seed, 0)
    return [seen_at(branch, states[k], k)[1] for k in range(len(branch.steps))]


def joined(each: Sequence[Features]) -> Features:
    """The features of several rows as those of one batch."""
    return {name: torch.cat([features[name] for features in each]) for name in each[0]}


def distances(features: Features, target: Features) -> Tensor:
    """(V,): Σ over features of the mean over places of ‖x - x̂‖₂, in units of the target's deviation."""
    each = [(features[name] - x).norm(dim=1).mean(dim=(1, 2)) / x.std(dim=(1, 2, 3)).clamp_min(1e-12) for name, x in target.items()]
    return torch.stack(each).sum(dim=0)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Maps (N, C, H, W) under a Gaussian of so many places, the border repeated. What sums to 1
    over channels still does."""
    reach = int(3 * sigma + 0.5)
    bell = (torch.arange(-reach, reach + 1) / sigma).square().div(-2).exp().to(x)
    flat = F.pad(x.flatten(0, 1)[:, None], (reach,) * 4, mode="replicate")
    flat = F.conv2d(F.conv2d(flat, (bell / bell.sum())[None, None, :, None]), (bell / bell.sum())[None, None, None])
    return flat.view_as(x)
