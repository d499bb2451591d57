"""DDIM in both directions, and the trajectory that an inversion leaves (docs/method.md §1, §3).

States are counted in denoising order: state 0 is the noisiest latent, state T the clean one; step k
leads from state k to state k + 1 and evaluates the noise predictor at the timestep of state k. A
predictor is any callable `eps(z, k) -> noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.backbones.process import Steps
from qnerf.devices import send

NoisePredictor = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Trajectory:
    """What an inversion leaves of N views.

    states: (T + 1, N, 4, h, w), state 0 the noisiest. null_text: (T, N, L, C), the ∅ of every step
    where it was optimised.
    """

    states: Tensor
    null_text: Tensor | None = None

    def views(self, views: slice) -> Trajectory:
        """The trajectory of some of the views."""
        return Trajectory(self.states[:, views], None if self.null_text is None else self.null_text[:, views])

    def to(self, device: torch.device) -> Trajectory:
        return Trajectory(send(self.states, device), None if self.null_text is None else send(self.null_text, device))


def ddim_step(
    z: Tensor, noise: Tensor, steps: Steps, start: int, stop: int, revise: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """One DDIM step (η = 0) from state `start` to state `stop`, in either direction: docs/method.md §1.

    revise: of the predicted clean latents; the direction term keeps the noise as it was predicted.
    """
    clean = steps.clean(z, noise, start)
    clean = clean if revise is None else revise(clean)
    return steps.signal[stop] * clean + steps.sigma[stop] * noise


def invert(eps: NoisePredictor, clean: Tensor, steps: Steps) -> Tensor:
    """From clean latents (N, 4, h, w) to all T + 1 states (T + 1, N, 4, h, w), noisiest first.

    The step to state k asks for the noise at the *later* timestep k, as null-text inversion's reference
    does: it is the timestep at which denoising will ask from there.
    """
    states = [clean]
    for k in reversed(range(len(steps))):
        noise = eps(states[-1], k)
        states.append(ddim_step(states[-1], noise, steps, k + 1, k))
    return torch.stack(states[::-1])


def denoise(eps: NoisePredictor, z: Tensor, steps: Steps, start: int = 0, stop: int | None = None) -> Tensor:
    """From state `start` to state `stop` (the clean one where it is None)."""
    for k in range(start, len(steps) if stop is None else stop):
        z = ddim_step(z, eps(z, k), steps, k, k + 1)
    return z
