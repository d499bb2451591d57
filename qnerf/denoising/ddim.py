"""DDIM in both directions, and the trajectory that an inversion leaves (docs/method.md §1, §3).

States are counted in denoising order: state 0 is the noisiest latent, state T the clean one; step k
leads from state k to state k + 1 and evaluates the noise predictor at the timestep of state k. A
predictor is any callable `eps(z, k) -> noise`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from qnerf.backbones.process import Steps
from qnerf.devices import send

NoisePredictor = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Trajectory:
    """What an inversion leaves of N views. Only `states` is always there; each has the views in its second dimension.

    states: (T + 1, N, 4, h, w), state 0 the noisiest. null_text: (T, N, L, C), the ∅ of every step, where the inversion chooses it.
    residuals: (T, N, 4, h, w), the noise that each step adds to its mean; with it all steps, of an edit too, are those of η = 1.
    offsets: (T, N, 4, h, w), what is added to the source's own state after each of its steps, and to no other's.
    auxiliary: (T + 1, N, 4, h, w), the states of the inversion's auxiliary branch.
    """

    states: Tensor
    null_text: Tensor | None = None
    residuals: Tensor | None = None
    offsets: Tensor | None = None
    auxiliary: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """What there is of it, by name."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    def views(self, views: slice) -> Trajectory:
        """The trajectory of some of the views."""
        return Trajectory(**{name: value[:, views] for name, value in self.tensors().items()})

    def to(self, device: torch.device) -> Trajectory:
        return Trajectory(**{name: send(value, device) for name, value in self.tensors().items()})

    def step(self, z: Tensor, noise: Tensor, steps: Steps, k: int, revise: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """State k + 1 of latents whose noise at step k was predicted, by whatever branch goes on from this inversion."""
        return ddim_step(z, noise, steps, k, k + 1, revise, None if self.residuals is None else self.residuals[k])

    def source_step(self, z: Tensor, noise: Tensor, steps: Steps, k: int) -> Tensor:
        """State k + 1 of the source branch itself."""
        z = self.step(z, noise, steps, k)
        return z if self.offsets is None else z + self.offsets[k]

    @staticmethod
    def joined(parts: Sequence[Trajectory]) -> Trajectory:
        """The trajectory of all views from those of some, in order."""
        found = [part.tensors() for part in parts]
        return Trajectory(**{name: torch.cat([part[name] for part in found], dim=1) for name in found[0]})


def ddim_step(
    z: Tensor,
    noise: Tensor,
    steps: Steps,
    start: int,
    stop: int,
    revise: Callable[[Tensor], Tensor] | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """One DDIM step from state `start` to state `stop`: docs/method.md §1. η = 0, in either direction; or η = 1, from k to k + 1,
    where the noise that it adds is given.

    revise: of the predicted clean latents; the direction term keeps the noise as it was predicted. residual: what a step of η = 1
    adds to its mean, whose direction term is shorter by the variance of what is drawn.
    """
    clean = steps.clean(z, noise, start)
    clean = clean if revise is None else revise(clean)
    if residual is None:
        return steps.signal[stop] * clean + steps.sigma[stop] * noise
    return steps.signal[stop] * clean + (steps.sigma[stop] ** 2 - steps.variance(start)) ** 0.5 * noise + residual


def invert(eps: NoisePredictor, clean: Tensor, steps: Steps, own_time: bool = False, fixed_point: int = 0) -> Tensor:
    """From clean latents (N, 4, h, w) to all T + 1 states (T + 1, N, 4, h, w), noisiest first.

    The step to state k asks for the noise at the *later*, noisier timestep k, as null-text inversion's reference does: it is the
    timestep at which denoising will ask from there. own_time: it asks at the time of the state that it starts from, k + 1.
    fixed_point: how often the noise is asked again, at the state that was reached and at its time, which is where denoising will
    ask: z_k ← step(z_{k+1}, ε(z_k, k)) has the states that denoising comes back by as its fixed point.
    """
    states = [clean]
    for k in reversed(range(len(steps))):
        z = ddim_step(states[-1], eps(states[-1], k + 1 if own_time else k), steps, k + 1, k)
        for _ in range(fixed_point):
            z = ddim_step(states[-1], eps(z, k), steps, k + 1, k)
        states.append(z)
    return torch.stack(states[::-1])


def denoise(eps: NoisePredictor, z: Tensor, steps: Steps, start: int = 0, stop: int | None = None) -> Tensor:
    """From state `start` to state `stop` (the clean one where it is None)."""
    for k in range(start, len(steps) if stop is None else stop):
        z = ddim_step(z, eps(z, k), steps, k, k + 1)
    return z
