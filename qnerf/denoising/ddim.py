"""DDIM in both directions, and the trajectory that an inversion leaves (METHOD §1, §3).

States are counted in denoising order: state 0 is the noisiest latent, state T the clean one; step k
leads from state k to state k + 1 and evaluates the noise predictor at the timestep of state k. A
predictor is any callable `eps(z, k) -> noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.devices import send

from qnerf.backbones.diffusion import DiffusionBackbone

NoisePredictor = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class DdimSteps:
    """T steps. timesteps: T descending diffusion times. alpha_bar: T + 1 values, of the states 0 to
    T."""

    timesteps: tuple[int, ...]
    alpha_bar: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    def sigma(self, state: int) -> float:
        """Noise level sqrt(1 - ᾱ) of a state."""
        return (1 - self.alpha_bar[state]) ** 0.5


def ddim_steps(backbone: DiffusionBackbone, count: int) -> DdimSteps:
    """The backbone's DDIM steps: its leading timesteps, and ᾱ of the T + 1 states (the last is the
    final alpha)."""
    timesteps = backbone.timesteps(count)
    stride = timesteps[0] - timesteps[1]
    alpha = [backbone.alpha_bar(t) for t in timesteps] + [backbone.alpha_bar(max(timesteps[-1] - stride, -1))]
    return DdimSteps(tuple(timesteps), tuple(alpha))


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


def predicted_clean(z: Tensor, noise: Tensor, alpha_bar: float) -> Tensor:
    """ẑ0 = (z - √(1 - ᾱ) ε) / √ᾱ of a state with noise level ᾱ."""
    return (z - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5


def ddim_step(
    z: Tensor, noise: Tensor, alpha_from: float, alpha_to: float, revise: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """One DDIM step (η = 0) between two noise levels, in either direction: METHOD §1.

    revise: of the predicted clean latents; the direction term keeps the noise as it was predicted.
    """
    clean = predicted_clean(z, noise, alpha_from)
    clean = clean if revise is None else revise(clean)
    return alpha_to**0.5 * clean + (1 - alpha_to) ** 0.5 * noise


def invert(eps: NoisePredictor, clean: Tensor, steps: DdimSteps) -> Tensor:
    """From clean latents (N, 4, h, w) to all T + 1 states (T + 1, N, 4, h, w), noisiest first.

    The step to state k asks for the noise at the *later* timestep k, as null-text inversion's reference
    does: it is the timestep at which denoising will ask from there.
    """
    states = [clean]
    for k in reversed(range(len(steps))):
        noise = eps(states[-1], k)
        states.append(ddim_step(states[-1], noise, steps.alpha_bar[k + 1], steps.alpha_bar[k]))
    return torch.stack(states[::-1])


def denoise(eps: NoisePredictor, z: Tensor, steps: DdimSteps, start: int = 0, stop: int | None = None) -> Tensor:
    """From state `start` to state `stop` (the clean one where it is None)."""
    for k in range(start, len(steps) if stop is None else stop):
        z = ddim_step(z, eps(z, k), steps.alpha_bar[k], steps.alpha_bar[k + 1])
    return z
