"""Null-text inversion: optimise the unconditional embedding of every step along a DDIM pivot.

R. Mokady et al., "Null-text Inversion for Editing Real Images using Guided Diffusion Models", CVPR
2023; the learning rate and the early stop are those of the authors' code (docs/method.md §3). States, embeddings and Adam are
float32 whatever the model computes in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from qnerf.inversions.inversion import Inversion, InversionSettings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.backbones.process import Steps
    from qnerf.denoising.ddim import Trajectory
    from qnerf.denoising.source import SourceBranch

    TextNoise = Callable[[Tensor, int, Tensor], Tensor]  # (z, step, text) -> noise

log = logging.getLogger(__name__)

HALF_SCALE = 2.0**14
"""By which the error is larger while float16 takes its gradient, which is near float16's least number, 6e-8. A power of two changes
no digit otherwise. On the embedded model 0.05 to 0.2 % of the gradient's signs come out wrong with it, 4 to 8 % without."""
LAST_STEP = 100
"""The authors' learning rate falls linearly to 0 at this step; their schedules have only 50 steps."""


class NullTextInversionSettings(InversionSettings):
    """∅_t is optimised along the DDIM pivot, for reconstruction at guidance_scale. An edit must use the
    same scale.

    inner_steps: maximum number of Adam steps per denoising step. learning_rate: at the first step. It
    falls linearly, by 1 % of it per step as published; with more than 50 steps, so that half of it is
    left at the last. early_stop, early_stop_growth: stop once the error is below early_stop +
    early_stop_growth * step. joint: one ∅_t shared by all views (Jambon 2023).
    """

    name: Literal["null_text"]
    guidance_scale: float = Field(default=7.5, gt=1)
    inner_steps: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    early_stop: float = Field(default=1e-5, ge=0)
    early_stop_growth: float = Field(default=2e-5, ge=0)
    joint: bool = False

    @property
    def reconstruction_scale(self) -> float:
        return self.guidance_scale

    @property
    def required_scale(self) -> float:
        return self.guidance_scale

    @property
    def shared_key(self) -> str | None:
        return "inversion.joint" if self.joint else None

    def passes(self, steps: int) -> int:
        """A pivot, the inner steps at most (a forward and a backward pass each), the two passes that
        lead on."""
        return steps * (1 + 3 * self.inner_steps + 2)

    def rate(self, k: int, steps: int) -> float:
        """Learning rate of step k of `steps`: lr (1 - k / 100) of 50 steps; a schedule of more is walked through
        at the same pace."""
        return self.learning_rate * (1 - k / max(LAST_STEP, 2 * steps))

    def build(self) -> NullTextInversion:
        return NullTextInversion(self)


class NullTextInversion(Inversion):
    settings: NullTextInversionSettings

    @property
    def joint(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.settings.joint

    def invert(self, branch: SourceBranch, clean: Tensor) -> Trajectory:
        import torch

        from qnerf.denoising.ddim import Trajectory, invert

        if branch.backbone.dtype is torch.bfloat16:
            log.warning(
                "inversion=null_text optimises small steps, which bfloat16 is too coarse for (embeddings come out .7 off at an RMS "
                "of 1, float16's .07): set backbone.dtype=float32 or float16."
            )
        states = branch.checked(Trajectory(invert(branch.noise, clean, branch.steps))).states  # before the long part
        scale = HALF_SCALE if branch.backbone.dtype is torch.float16 else 1.0
        text, null_text = branch.conditioning.text, branch.null_text
        return Trajectory(states, optimise_null_text(branch.noise, states, text, null_text, branch.steps, self.settings, scale))


def optimise_null_text(
    noise_of: TextNoise, pivot: Tensor, text: Tensor, null_text: Tensor, steps: Steps, settings: NullTextInversionSettings,
    gradient_scale: float = 1.0,
) -> Tensor:  # fmt: skip
    """The ∅ of every step, (T, N, L, C).

    pivot: (T + 1, N, 4, h, w) states of a DDIM inversion at γ = 1. text, null_text: (N, L, C), of the
    prompt and of "". Each view has its own ∅ (and its own early stop) unless `settings.joint`. ∅ of a
    step starts from that of the step before. gradient_scale: by which the error is larger while its gradient is taken.
    """
    import torch

    from qnerf.denoising.combination import guided_noise
    from qnerf.denoising.ddim import ddim_step

    z, rows = pivot[0], []
    null = null_text[:1].clone() if settings.joint else null_text.clone()
    for k in range(len(steps)):
        with torch.no_grad():
            conditional = noise_of(z, k, text)
        null = _optimise_step(noise_of, conditional, z, pivot[k + 1], null, k, steps, settings, gradient_scale)
        expanded = null.expand(len(z), -1, -1)
        rows.append(expanded.clone())
        with torch.no_grad():
            noise = guided_noise(noise_of(z, k, expanded), conditional, settings.guidance_scale)
            z = ddim_step(z, noise, steps, k, k + 1)
    return torch.stack(rows)


def _optimise_step(
    noise_of: TextNoise, conditional: Tensor, z: Tensor, target: Tensor, null: Tensor, k: int, steps: Steps,
    settings: NullTextInversionSettings, gradient_scale: float,
) -> Tensor:  # fmt: skip
    import torch

    from qnerf.denoising.combination import guided_noise
    from qnerf.denoising.ddim import ddim_step

    null = null.detach().clone().requires_grad_(True)
    optimiser = torch.optim.Adam([null], lr=settings.rate(k, len(steps)))
    done = torch.zeros(len(null), dtype=torch.bool, device=null.device)
    for _ in range(settings.inner_steps):
        with torch.enable_grad():
            noise = guided_noise(noise_of(z, k, null.expand(len(z), -1, -1)), conditional, settings.guidance_scale)
            reached = ddim_step(z, noise, steps, k, k + 1)
            error = (reached - target).square().flatten(1).mean(dim=1)
            (gradient,) = torch.autograd.grad(gradient_scale * error.sum(), null)
        # The authors take the Adam step first and stop on the loss from before it; stopping before it leaves an ∅ alone that has
        # converged (docs/method.md §3).
        below = error.detach() < settings.early_stop + settings.early_stop_growth * k
        done = done | (below.all().expand_as(done) if settings.joint else below)
        if done.all():
            break
        # A view that has stopped early keeps its embedding, whatever the other views of its chunk still do.
        kept = null.detach().clone()
        null.grad = gradient / gradient_scale
        optimiser.step()
        with torch.no_grad():
            null.copy_(torch.where(done[:, None, None], kept, null))
    return null.detach()
