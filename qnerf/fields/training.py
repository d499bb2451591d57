"""The training loop that every field runs through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qnerf.fields.settings import OptimiserSettings
from qnerf.fields.trunk import Trunk, derive_seed

OnStep = Callable[[int, int, float], None]
"""on_step(step, total, loss), after each step, counted from 1."""
WARM_UP = 0.05
"""Share of the steps over which the learning rate rises from nothing."""


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """A linear warm-up, then exponential decay to `final_learning_rate` at the last step."""
    warm = min(1.0, (step + 1) / max(WARM_UP * settings.iterations, 1.0))
    progress = step / max(settings.iterations - 1, 1)
    ratio = settings.final_learning_rate / settings.learning_rate
    return settings.learning_rate * warm * ratio**progress


def train(
    model: nn.Module,
    trunk: Trunk,
    loss: Callable[[int, torch.Generator], Tensor],
    settings: OptimiserSettings,
    seed: int,
    on_step: OnStep | None,
) -> None:
    """Minimise `loss`, which draws its own batch of rays from the generator it is given (one per step, derived from the seed)."""
    device = trunk.proposal.density.device
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, eps=settings.eps, weight_decay=settings.weight_decay, fused=True
    )
    for step in range(settings.iterations):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings)
        if step > 0 and step % trunk.settings.sampling.proposal_every == 0:
            trunk.refresh_proposal(torch.Generator(device).manual_seed(derive_seed(seed, 3, step)))
        value = loss(step, torch.Generator(device).manual_seed(derive_seed(seed, 4, step)))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        if on_step is not None:
            on_step(step + 1, settings.iterations, value.item())
    trunk.refresh_proposal(torch.Generator(device).manual_seed(derive_seed(seed, 3, settings.iterations)))
