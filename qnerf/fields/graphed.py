"""A training step that can be recorded as a CUDA graph, and its first replay held against the same step run plainly."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from qnerf.fields.settings import OptimiserSettings
from qnerf.fields.trunk import derive_seed
from qnerf.graphs import Recorder, reason

log = logging.getLogger(__name__)

PLAIN_STEPS = 3
"""Steps before a step is recorded: kernels are compiled and libraries set up in them."""
AGREEMENT = 0.1
"""How far a replayed step may lie from the plain one, as a share of the step: sums in another order are far below it, and a part
that was not recorded far above."""
WARM_UP = 0.05
"""Share of the steps over which the learning rate rises from nothing."""


class FieldLoss(Protocol):
    """What a training minimises."""

    def fetch(self, step: int) -> None:
        """Brings to the device what step `step` needs of the host's memory; nothing where all is there."""
        ...

    def __call__(self, step: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of step `step`, () int64 on the device. Rays are drawn from the generator; nothing is read at home."""
        ...


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """A linear warm-up, then exponential decay to `final_learning_rate` at the last step."""
    warm = min(1.0, (step + 1) / max(WARM_UP * settings.iterations, 1.0))
    progress = step / max(settings.iterations - 1, 1)
    ratio = settings.final_learning_rate / settings.learning_rate
    return settings.learning_rate * warm * ratio**progress


class TrainingStep:
    """Forward, backward and AdamW. All that differs between steps comes in through memory: number, learning rate, the generator's
    state and what the loss fetches. So a recording of one step is right for every step."""

    def __init__(self, model: nn.Module, loss: FieldLoss, settings: OptimiserSettings, seed: int, device: torch.device) -> None:
        self.loss, self.settings, self.seed = loss, settings, seed
        self.number = torch.zeros((), dtype=torch.long, device=device)
        # The fused kernel computes with a double on the CPU and reads a float32 elsewhere.
        self.rate = torch.zeros((), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        self.generator = torch.Generator(device)
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=self.rate, eps=settings.eps, weight_decay=settings.weight_decay, fused=True,
            capturable=device.type == "cuda",
        )  # fmt: skip

    def prepare(self, step: int) -> None:
        """Sets step `step`'s number, rate, random state and data; without waiting for the device."""
        self.number.fill_(step)
        self.rate.fill_(learning_rate(step, self.settings))
        self.generator.manual_seed(derive_seed(self.seed, 4, step))
        self.loss.fetch(step)

    def run(self) -> Tensor:
        """The step that was prepared: its loss, (), on the device."""
        value = self.loss(self.number, self.generator)
        self.optimiser.zero_grad()
        value.backward()
        self.optimiser.step()
        return value.detach()

    def state(self) -> list[Tensor]:
        """All that a step changes."""
        kept = [value for state in self.optimiser.state.values() for value in state.values()]
        return [*(parameter.detach() for parameter in self.parameters), *kept]


class GraphedSteps:
    """Training steps, the first few run plainly and the others replayed from a recording, if one can be made and is right."""

    def __init__(self, step: TrainingStep, recorder: Recorder | None) -> None:
        self.step, self.recorder = step, recorder
        self.replay: Callable[[], Tensor] | None = None
        self.done = 0

    def __call__(self, number: int) -> Tensor:
        """Step `number`'s loss, (), on the device; good until the next step."""
        self.step.prepare(number)
        self.done += 1
        if self.replay is not None:
            return self.replay()
        if self.recorder is None:
            return self.step.run()
        if self.done <= PLAIN_STEPS:
            return self._plainly(self.recorder)
        return self._recorded(self.recorder, number)

    def _plainly(self, recorder: Recorder) -> Tensor:
        with recorder.aside(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
            return self.step.run()

    def _recorded(self, recorder: Recorder, number: int) -> Tensor:
        """The step run plainly; the same one from the same state recorded and replayed; where both agree, replays from now on."""
        step = self.step
        before = [x.clone() for x in step.state()]
        value = self._plainly(recorder)
        after = [x.clone() for x in step.state()]
        try:
            _restore(step.state(), before)
            replay = recorder.record(step.run, step.generator)
            step.prepare(number)  # the plain run has drawn from the generator
            replayed = replay()
            if not _agree(step.parameters, before, after):
                raise RuntimeError("replayed, it does not do what it does when run plainly")
            self.replay = replay
            return replayed
        except RuntimeError as error:
            log.warning("The field is trained without a CUDA graph: %s.", reason(error))
            self.recorder = None
            step.optimiser.zero_grad()
            step.generator = torch.Generator(step.number.device)  # the old one may still be waiting for the recording's end
            _restore(step.state(), after)
            return value


@torch.no_grad()
def _restore(state: list[Tensor], values: list[Tensor]) -> None:
    for x, value in zip(state, values, strict=True):
        x.copy_(value)


@torch.no_grad()
def _agree(parameters: Sequence[Tensor], before: list[Tensor], after: list[Tensor]) -> bool:
    """Whether the parameters went from `before` to all but `after`. Waits for the device."""
    pairs = zip(parameters, before[: len(parameters)], after[: len(parameters)], strict=True)
    return all(bool((x - plain).norm() <= AGREEMENT * (plain - start).norm()) for x, start, plain in pairs)
