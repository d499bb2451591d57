"""The training loop that every field runs through."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from qnerf.fields.graphed import FieldLoss, GraphedSteps, TrainingStep
from qnerf.fields.settings import OptimiserSettings
from qnerf.fields.trunk import Trunk, derive_seed
from qnerf.graphs import RecorderOf, cuda_recorder

OnStep = Callable[[int, int, float], None]
"""on_step(step, total, loss), after each step, counted from 1. On a GPU, which runs behind, the loss is the latest that has come
home, NaN before the first."""
LOSS_EVERY = 50
"""Steps of which one's loss is brought home from a GPU."""


def train(
    model: nn.Module,
    trunk: Trunk,
    loss: FieldLoss,
    settings: OptimiserSettings,
    seed: int,
    on_step: OnStep | None,
    recorder_of: RecorderOf = cuda_recorder,
) -> None:
    """Minimise `loss`, whose random numbers are derived from the seed, step by step.

    recorder_of: what records a step on the device; on a CUDA GPU steps are replayed from a CUDA graph where that can be made.
    """
    device = trunk.proposal.density.device
    recorder = recorder_of(device) if on_current_stream(trunk.encoding) else None
    steps = GraphedSteps(TrainingStep(model, loss, settings, seed, device), recorder)
    losses = LossAtHome(device)
    for step in range(settings.iterations):
        if step > 0 and step % trunk.settings.sampling.proposal_every == 0:
            trunk.refresh_proposal(torch.Generator(device).manual_seed(derive_seed(seed, 3, step)))
        value = steps(step)
        if on_step is not None:
            on_step(step + 1, settings.iterations, losses.latest(step, value))
    trunk.refresh_proposal(torch.Generator(device).manual_seed(derive_seed(seed, 3, settings.iterations)))
    model.zero_grad()  # gradients keep the recording's memory


def on_current_stream(encoding: nn.Module) -> bool:
    """Whether a hash grid's kernels are launched where PyTorch's are. Warp has a stream of its own, which no recording sees."""
    return not getattr(getattr(encoding, "encode", None), "__module__", "").endswith("warp_grid")


class LossAtHome:
    """Losses as numbers; of a GPU's only each `LOSS_EVERY`th, when it has arrived: asking for one waits for all work before it."""

    def __init__(self, device: torch.device) -> None:
        self.last = float("nan")
        self.event = torch.cuda.Event() if device.type == "cuda" else None
        self.arriving: Tensor | None = None

    def latest(self, step: int, value: Tensor) -> float:
        """value: step `step`'s loss, ()."""
        if self.event is None:
            return value.item()
        if self.arriving is not None and self.event.query():
            self.last, self.arriving = self.arriving.item(), None
        if self.arriving is None and step % LOSS_EVERY == 0:
            self.arriving = torch.empty((), pin_memory=True).copy_(value, non_blocking=True)
            self.event.record()
        return self.last
