"""Denoising with injected features, and with noise of η between DDIM's none and DDPM's (studies
J25, J28, J29)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from experiments.injection.features import Features, Inject, distances, edits_at, seen_at
from qnerf.backbones.process import Steps
from qnerf.denoising.ddim import ddim_step
from qnerf.denoising.source import SourceBranch

Way = Literal["none", "direct", "mixed", "guidance"]
MIXED = 0.5  # the share of injected features (ours)
STRENGTH = 0.1  # of guidance: a step's RMS over that of the latents, times σ (ours)


def noisy_step(z: Tensor, noise: Tensor, steps: Steps, k: int, eta: float, drawn: Tensor) -> Tensor:
    """From state k to k + 1 with σ_k = η √variance_k (Song et al. 2021, eq. 12 and 16):

    z_{k+1} = signal_{k+1} x̂ + √(sigma_{k+1}² - σ_k²) ε + σ_k drawn, which is DDIM at η = 0 and
    DDPM at η = 1.
    """
    if eta == 0:
        return ddim_step(z, noise, steps, k, k + 1)
    variance = eta**2 * steps.variance(k)
    mean = steps.signal[k + 1] * steps.clean(z, noise, k) + (steps.sigma[k + 1] ** 2 - variance) ** 0.5 * noise
    return mean + variance**0.5 * drawn


def pulled(branch: SourceBranch, z: Tensor, k: int, target: Features, strength: float) -> Tensor:
    """Latents (V, 4, h, w) after a step down the gradient of the distance of their features to given ones."""
    if not target:
        return z
    z = z.detach().requires_grad_(True)
    with torch.enable_grad():
        _, features = seen_at(branch, z, k)
        (gradient,) = torch.autograd.grad(distances(features, target).sum(), z)
    z, norm = z.detach(), gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
    length = strength * branch.steps.sigma[k] * z.flatten(1).norm(dim=1) / norm
    return z - length[:, None, None, None] * gradient


@torch.no_grad()
def denoise(
    branch: SourceBranch,
    z: Tensor,
    way: Way = "none",
    features: Callable[[int], Features] = lambda k: {},
    eta: float = 0.0,
    drawn: Callable[[int], Tensor] = lambda k: torch.zeros(()),
    strength: float = STRENGTH,
) -> Tensor:
    """Clean latents (V, 4, h, w) from the noisiest. features: what is injected at a step. drawn:
    the noise of a step."""
    steps = branch.steps
    for k in range(len(steps)):
        edits = None
        if way == "guidance":
            z = pulled(branch, z, k, features(k), strength)
        elif way != "none":
            share = MIXED if way == "mixed" else 1.0
            edits = edits_at(branch.backbone, Inject(features(k), share), k, len(steps))
        z = noisy_step(z, branch.noise(z, k, edits=edits), steps, k, eta, drawn(k))
    return z
