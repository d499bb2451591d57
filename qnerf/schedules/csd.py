"""Collaborative score distillation with ControlNet (Kim et al., NeurIPS 2023; docs/method.md §5.2).

The views' latents are moved by gradients of the model's predictions, which a kernel shares between views. At each iteration all
views are noised to one state k, each by noise of its own that source and target share, and with x their noisy target latents,

    s_j = ε̂(target_j) - ε(source_j; ∅),    K_ij = exp(-γ ‖x_i - x_j‖²),    γ = ln(N + 1) / median(‖x_i - x_j‖²),
    g_i = σ_k² / N · [Σ_j K_ij s_j - 2 γ Σ_j K_ij (x_i - x_j)],

the median over all N² pairs, and the latents take a step of gradient descent. *Ours*: k is drawn among the run's own states,
so that every editor works, and the editor's kept background is put back after each step.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.drawn import Drawn, DrawnSettings
from qnerf.schedules.schedule import Work

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance

KEPT_EVERY = 50
"""Iterations after which an interrupted edit can go on."""


class CsdSettings(DrawnSettings):
    """rate: of the gradient descent, times `decay` after each `decay_every` iterations. noisiest, cleanest: training times between
    which states are drawn. kernel: factor of the median in γ; towards 0 every view is distilled by itself, at 1 / N of the rate."""

    name: Literal["csd"]
    iterations: int = Field(default=200, gt=0)
    rate: float = Field(default=2.0, gt=0)
    decay: float = Field(default=0.9, gt=0, le=1)
    decay_every: int = Field(default=20, gt=0)
    noisiest: int = Field(default=500, gt=0)
    kernel: float = Field(default=1.0, gt=0)

    @property
    def draws(self) -> bool:
        return True

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": 2 * self.iterations * views}

    def kept_intervals(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        return list(range(KEPT_EVERY, self.iterations, KEPT_EVERY))

    def interval_settings(self) -> dict[str, Any]:
        """However many iterations follow."""
        return self.model_dump(mode="json", exclude={"iterations"})

    def build(self) -> Csd:
        return Csd(self)


class Csd(Drawn):
    settings: CsdSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.result import EditResult

        job.editor.restore({})
        states, clean = self.states(job), job.trajectory.states[-1]
        kept = self.settings.kept_intervals(guidance.settings, len(job.steps))
        first = 0
        for stop in kept:
            compute = partial(self._interval, job, states, clean, first, stop)
            clean, first = checkpoints.once(stop, compute)["latents"], stop
        clean = self.descend(job, states, clean, first, self.settings.iterations)
        return EditResult(clean)

    def _interval(self, job: EditJob, states: list[int], clean: Tensor, start: int, stop: int) -> dict[str, Tensor]:
        return {"latents": self.descend(job, states, clean, start, stop)}

    def descend(self, job: EditJob, states: list[int], clean: Tensor, start: int, stop: int) -> Tensor:
        """Latents (N, 4, h, w) after iterations start to stop - 1."""
        import torch

        from qnerf.denoising.combination import keep_background

        watch, source, kept = job.watch("distilling"), job.trajectory.states[-1], job.editor.settings.keep_background
        for iteration in range(start, stop):
            generator = torch.Generator().manual_seed(_seed(job.seed, iteration))
            k = states[int(torch.randint(len(states), (), generator=generator))]
            noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype).to(clean.device)
            with torch.no_grad():
                gradient = self.gradient(job, clean, noise, k)
            rate = self.settings.rate * self.settings.decay ** (iteration // self.settings.decay_every)
            clean = clean - rate * gradient
            if kept:
                clean = keep_background(clean, source, job.region.to(clean.device))
            watch.see(clean.to(job.device), k)
        watch.check()
        return clean

    def gradient(self, job: EditJob, clean: Tensor, noise: Tensor, k: int) -> Tensor:
        """g (N, 4, h, w) of clean target latents at state k."""
        import torch

        from qnerf.consolidation.phases import gather

        signal, sigma = job.steps.signal[k], job.steps.sigma[k]
        z, source = (signal * x + sigma * noise for x in (clean, job.trajectory.states[-1]))
        gather(job, z, k)
        scores = []
        for views in job.chunks():
            branch, before = job.branch(views), job.source(views)
            target = branch.noise(z[views].to(job.device), k)
            scores.append((target - before.noise(source[views].to(job.device), k, before.null_text)).to(z))
            job.on_work("unet", 2 * len(target))
        return sigma**2 * shared(z, torch.cat(scores), self.settings.kernel)


def shared(x: Tensor, scores: Tensor, kernel: float) -> Tensor:
    """1 / N · [Σ_j K_ij s_j - 2 γ Σ_j K_ij (x_i - x_j)] of latents and scores (N, …)."""
    flat, count = x.flatten(1), len(x)
    squared = (flat[:, None] - flat[None]).square().sum(-1)
    gamma = math.log(count + 1) / max(kernel * squared.flatten().quantile(0.5).item(), 1e-12)
    weights = (-gamma * squared).exp()
    apart = weights.sum(1, keepdim=True) * flat - weights @ flat
    return ((weights @ scores.flatten(1) - 2 * gamma * apart) / count).view_as(x)


def _seed(seed: int, iteration: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence([seed, iteration]).generate_state(1)[0])
