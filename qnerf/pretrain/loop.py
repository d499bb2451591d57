"""The training loop that the stages share: schedule, clipping, averaging, checkpoints, sheets, metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from qnerf.common.hashes import digest
from qnerf.errors import UserError
from qnerf.pretrain.average import Average
from qnerf.pretrain.checkpoint import Counters, load_checkpoint, save_checkpoint
from qnerf.pretrain.data import Samples, stream
from qnerf.pretrain.progress import Progress
from qnerf.pretrain.settings import LoopSettings
from qnerf.pretrain.team import Team, team
from qnerf.runs.ending import exit_code
from qnerf.trackers.together import Together
from qnerf.trackers.tracker import NoTracker, TrackedRun

BatchT = TypeVar("BatchT")


class Trainee(Protocol[BatchT]):
    """A stage's model. `modules` are trained; `loss` may use only the batch and the generator for randomness."""

    modules: nn.ModuleDict

    @property
    def samples(self) -> Samples[BatchT]: ...

    def loss(self, batch: BatchT, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]: ...

    def sheet(self, path: Path) -> dict[str, float]: ...


def done_fraction(settings: LoopSettings, counters: Counters) -> float:
    """How much of the run is behind us, in [0, 1]: the farther of its two limits."""
    fractions = [0.0]
    if settings.samples:
        fractions.append(counters.step * settings.batch / settings.samples)
    if settings.budget_minutes:
        fractions.append(counters.seconds / (60 * settings.budget_minutes))
    return min(1.0, max(fractions))


def learning_rate(settings: LoopSettings, step: int, fraction: float) -> float:
    """Linear warm-up times a cosine from 1 down to 1/50."""
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction))
    return settings.learning_rate * min(1.0, (step + 1) / settings.warmup) * cosine


def train(trainee: Trainee[BatchT], settings: LoopSettings, on_checkpoint: Callable[[Average], None] | None = None) -> Average:
    """Trains from the folder's checkpoint, or from scratch, to the end; returns the averaged weights.

    Under torchrun every process does so with its part of each batch; the first one alone writes.
    """
    with team() as members:
        if settings.batch % members.size:
            raise UserError(f"stage.batch is {settings.batch}, expected a multiple of the {members.size} processes: set it to one.")
        return _train(trainee, settings, on_checkpoint, members)


def _train(
    trainee: Trainee[BatchT], settings: LoopSettings, on_checkpoint: Callable[[Average], None] | None, members: Team
) -> Average:
    folder = Path(settings.output)
    folder.mkdir(parents=True, exist_ok=True)
    plain = settings.model_dump(mode="json")
    identity = digest(["pretrain", settings.output, settings.seed])
    tracker = Together(settings.tracker, TrackedRun(folder, identity, plain, label=folder.name)) if members.leads else NoTracker()
    average = Average(trainee.modules, settings.ema)
    optimiser = torch.optim.AdamW(
        trainee.modules.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    counters = load_checkpoint(folder, trainee.modules, average, optimiser)
    progress = Progress(tracker, settings, counters)
    batches = stream(trainee.samples, settings.batch, counters.step, settings.workers, members)

    def save() -> None:
        save_checkpoint(folder, trainee.modules, average, optimiser, counters)
        if on_checkpoint:
            on_checkpoint(average)

    def draw() -> None:
        sheet = folder / f"sheet_{counters.step:06d}.png"
        with average.applied():
            progress.note(sheet, trainee.sheet(sheet))

    code = 0
    try:
        saved = drawn = time.monotonic()
        for seconds in _laps(settings, counters, batches, trainee, optimiser, average, progress, members):
            if not members.leads:
                continue
            if seconds - saved > 60 * settings.checkpoint_minutes:
                save()
                saved = time.monotonic()
            if seconds - drawn > 60 * settings.sheet_minutes:
                draw()
                drawn = time.monotonic()
        if members.leads:
            save()
            draw()
        return average
    except BaseException as error:
        code = exit_code(error)
        raise
    finally:
        done = {"step": counters.step, "samples": counters.step * settings.batch, "seconds": counters.seconds}
        tracker.finish(done, code)


def _laps(
    settings: LoopSettings,
    counters: Counters,
    batches: Iterator[BatchT],
    trainee: Trainee[BatchT],
    optimiser: torch.optim.Optimizer,
    average: Average,
    progress: Progress,
    members: Team,
) -> Iterator[float]:
    """One training step a lap, until `done_fraction` is 1; yields the clock. Time spent by the caller counts too."""
    generator = torch.Generator()
    last = time.monotonic()
    while (fraction := members.agree(done_fraction(settings, counters))) < 1:
        generator.manual_seed((settings.seed * 1_000_003 + counters.step) * members.size + members.rank)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, counters.step, fraction)
        loss, parts = trainee.loss(next(batches), generator)
        if not torch.isfinite(loss):
            raise UserError(
                f"The training loss became {loss.item()} at step {counters.step}: run again to resume from the last "
                "checkpoint, with a lower stage.learning_rate."
            )
        loss.backward()
        members.average_gradients(trainee.modules)
        norm = nn.utils.clip_grad_norm_(trainee.modules.parameters(), settings.clip, foreach=True)  # else a quarter of a CPU step
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update(counters.step)
        counters.step += 1
        now = time.monotonic()
        counters.seconds += now - last
        last = now
        if members.leads:
            progress.step(float(loss.detach()), {**parts, "gradient": float(norm)}, optimiser.param_groups[0]["lr"])
        yield now
