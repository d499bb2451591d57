"""Null-text inversion: optimise the unconditional embedding of every step along a DDIM pivot.

R. Mokady et al., "Null-text Inversion for Editing Real Images using Guided Diffusion Models", CVPR 2023; the learning rate
and the early stop are those of the authors' code (METHOD §3). float32 throughout: it does not converge in float16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qnerf.inversions.ddim import DdimSteps, ddim_step
from qnerf.inversions.settings import NullTextInversionSettings

TextNoise = Callable[[Tensor, int, Tensor], Tensor]  # (z, step, text) -> noise


def optimise_null_text(
    noise_of: TextNoise,
    pivot: Tensor,
    text: Tensor,
    null_text: Tensor,
    steps: DdimSteps,
    settings: NullTextInversionSettings,
) -> Tensor:
    """The ∅ of every step, (T, N, L, C).

    pivot: (T + 1, N, 4, h, w) states of a DDIM inversion at γ = 1. text, null_text: (N, L, C), of the prompt and of "".
    Each view has its own ∅ (and its own early stop) unless `settings.joint`. ∅ of a step starts from that of the step before.
    """
    z, rows = pivot[0], []
    null = null_text[:1].clone() if settings.joint else null_text.clone()
    for k in range(len(steps)):
        with torch.no_grad():
            conditional = noise_of(z, k, text)
        null = _optimise_step(noise_of, conditional, z, pivot[k + 1], null, k, steps, settings)
        expanded = null.expand(len(z), -1, -1)
        rows.append(expanded.clone())
        with torch.no_grad():
            noise = guided_noise(noise_of(z, k, expanded), conditional, settings.guidance_scale)
            z = ddim_step(z, noise, steps.alpha_bar[k], steps.alpha_bar[k + 1])
    return torch.stack(rows)


def guided_noise(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance: ε̂ = ε(∅) + γ (ε(c) - ε(∅))."""
    return unconditional + scale * (conditional - unconditional)


def _optimise_step(
    noise_of: TextNoise,
    conditional: Tensor,
    z: Tensor,
    target: Tensor,
    null: Tensor,
    k: int,
    steps: DdimSteps,
    settings: NullTextInversionSettings,
) -> Tensor:
    null = null.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([null], lr=settings.learning_rate * max(1 - k / 100, 0.0))
    done = torch.zeros(len(null), dtype=torch.bool, device=null.device)
    for _ in range(settings.inner_steps):
        with torch.enable_grad():
            noise = guided_noise(noise_of(z, k, null.expand(len(z), -1, -1)), conditional, settings.guidance_scale)
            reached = ddim_step(z, noise, steps.alpha_bar[k], steps.alpha_bar[k + 1])
            error = (reached - target).square().flatten(1).mean(dim=1)
            (gradient,) = torch.autograd.grad(error.sum(), null)
        below = error.detach() < settings.early_stop + settings.early_stop_growth * k
        done = done | (below.all().expand_as(done) if settings.joint else below)
        if done.all():
            break
        # A view that has stopped early keeps its embedding, whatever the other views of its chunk still do.
        kept = null.detach().clone()
        null.grad = gradient
        optimiser.step()
        with torch.no_grad():
            null.copy_(torch.where(done[:, None, None], kept, null))
    return null.detach()
