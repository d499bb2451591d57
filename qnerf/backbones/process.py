"""The noising process that a model was trained on: noise levels, times, and what its output means.

A state is z = signal · x + sigma · ε. Models differ in what they predict of it: the noise ε, the
velocity v = signal · ε - sigma · x (Salimans & Ho 2022), or the clean sample x. Everything outside this
folder asks for ε.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from qnerf.errors import UserError

Parametrisation = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class Steps:
    """T denoising steps over T + 1 states, 0 the noisiest. timesteps: T descending times, of the states
    at which the model is asked. signal, sigma: of each state."""

    timesteps: tuple[int, ...]
    signal: tuple[float, ...]
    sigma: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    def time(self, state: int) -> int:
        """The time of a state. The clean state's is 0, whose noise level it has (`DiscreteProcess.alpha_bar`)."""
        return self.timesteps[state] if state < len(self) else 0

    def variance(self, k: int) -> float:
        """Of the noise that step k draws at η = 1: (1 - ā_{k+1}) / (1 - ā_k) · (1 - ā_k / ā_{k+1}) (Song et al. 2021, eq. 16)."""
        return (self.sigma[k + 1] / self.sigma[k]) ** 2 * (1 - (self.signal[k] / self.signal[k + 1]) ** 2)

    def clean(self, z: Tensor, noise: Tensor, state: int) -> Tensor:
        """The clean latents that a state's noise implies, x = (z - sigma ε) / signal."""
        return (z - self.sigma[state] * noise) / self.signal[state]


class DiscreteProcess:
    """DDPM's schedule on training times 0 to T - 1 (Ho et al. 2020), signal² = ā_t, sigma² = 1 - ā_t.

    config: of diffusers' scheduler: beta_start, beta_end, num_train_timesteps, steps_offset,
    prediction_type.
    """

    def __init__(self, config: Any) -> None:
        self.parametrisation: Parametrisation = config["prediction_type"]
        self.offset = int(config["steps_offset"])
        start, end = config["beta_start"] ** 0.5, config["beta_end"] ** 0.5  # scaled_linear: roots of the betas are evenly spaced
        betas = torch.linspace(start, end, config["num_train_timesteps"], dtype=torch.float64) ** 2
        self.alphas_cumprod: Tensor = torch.cumprod(1 - betas, dim=0)
        self._there: dict[torch.device, Tensor] = {}  # brought to a device once: a step must not wait for it

    def alpha_bar(self, t: int) -> float:
        """ā_t; t = -1, the clean end, has the final alpha: ā_0, since `set_alpha_to_one` is False
        (docs/method.md §1)."""
        return float(self.alphas_cumprod[max(t, 0)])

    def timesteps(self, steps: int) -> list[int]:
        """DDIM's descending times: "leading" spacing with the scheduler's `steps_offset`, as in
        diffusers."""
        total = len(self.alphas_cumprod)
        if not 1 <= steps < total:  # the offset would push the first of `total` steps past the schedule's end
            raise UserError(f"steps is {steps}, expected a whole number from 1 to {total - 1}: set steps=… to one.")
        return [index * (total // steps) + self.offset for index in reversed(range(steps))]

    def steps(self, count: int) -> Steps:
        """`count` denoising steps; the last of the count + 1 states is the clean one."""
        times = self.timesteps(count)
        stride = times[0] - times[1] if count > 1 else len(self.alphas_cumprod)
        alphas = [self.alpha_bar(t) for t in times] + [self.alpha_bar(max(times[-1] - stride, -1))]
        return Steps(tuple(times), tuple(a**0.5 for a in alphas), tuple((1 - a) ** 0.5 for a in alphas))

    def noised(self, clean: Tensor, noise: Tensor, t: int) -> Tensor:
        """z_t = √ā_t x + √(1 - ā_t) ε."""
        alpha = self.alpha_bar(t)
        return alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise

    def noise(self, output: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """ε of a model's output for latents z (B, C, h, w) at times t (B,)."""
        if self.parametrisation == "epsilon":
            return output
        if z.device not in self._there:
            self._there[z.device] = self.alphas_cumprod.to(z.device)
        alpha = self._there[z.device][t].to(z.dtype)[:, None, None, None]
        signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
        return signal * output + sigma * z if self.parametrisation == "v_prediction" else (z - signal * output) / sigma
