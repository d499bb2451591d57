"""Views under noise that is drawn, not found by an inversion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qnerf.backbones.process import Steps


def noised_states(clean: Tensor, steps: Steps, seed: int, first_view: int) -> Tensor:
    """The T + 1 states (T + 1, N, 4, h, w) of clean latents (N, 4, h, w), each under noise that no other has but the clean one,
    which has none. The noise of a view goes by its number, the first one's being `first_view`, so that chunks do not show."""

    def drawn(view: int, state: int) -> Tensor:
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, view, state]).generate_state(1)[0]))
        return torch.randn(clean.shape[1:], generator=generator)

    views, states = range(first_view, first_view + len(clean)), []
    for state in range(len(steps)):
        noise = torch.stack([drawn(view, state) for view in views]).to(clean)
        states.append(steps.signal[state] * clean + steps.sigma[state] * noise)
    return torch.stack([*states, clean])
