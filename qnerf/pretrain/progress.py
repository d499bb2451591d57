"""One line of progress with a true time to the end, and the same figures for the tracker."""

from __future__ import annotations

import time
from pathlib import Path

from qnerf.pretrain.checkpoint import Counters
from qnerf.pretrain.settings import LoopSettings
from qnerf.trackers.tracker import Tracker


class Progress:
    """Averages what the steps report and writes a line every `log_steps` of them."""

    def __init__(self, tracker: Tracker, settings: LoopSettings, counters: Counters) -> None:
        self.tracker = tracker
        self.settings, self.counters = settings, counters
        self.sums: dict[str, float] = {}
        self.count = 0
        self.mark = counters.seconds

    def step(self, loss: float, parts: dict[str, float], learning_rate: float) -> None:
        for key, value in {"loss": loss, **parts}.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        if self.counters.step % self.settings.log_steps == 0:
            self._write(learning_rate)

    def note(self, sheet: Path, values: dict[str, float]) -> None:
        """A sample sheet and its figures."""
        self.tracker.log(values, self.counters.step)
        self.tracker.image("sheet", sheet)
        print(f"sheet at step {self.counters.step}: " + _join(values), flush=True)

    def _write(self, learning_rate: float) -> None:
        means = {key: value / self.count for key, value in self.sums.items()}
        rate = self.count * self.settings.batch / max(self.counters.seconds - self.mark, 1e-9)
        samples = self.counters.step * self.settings.batch
        speed = {"samples_per_second": rate, "seconds": self.counters.seconds}
        self.tracker.log({"samples": samples, **means, "learning_rate": learning_rate, **speed}, self.counters.step)
        left = time.strftime("%H:%M:%S", time.gmtime(self.seconds_left(rate)))
        print(f"step {self.counters.step}  {samples} samples  {_join(means)}  {rate:.1f}/s  left {left}", flush=True)
        self.sums, self.count, self.mark = {}, 0, self.counters.seconds

    def seconds_left(self, rate: float) -> float:
        """Until the sooner of the two limits, at `rate` samples per second."""
        limits = []
        if self.settings.samples:
            limits.append((self.settings.samples - self.counters.step * self.settings.batch) / rate)
        if self.settings.budget_minutes:
            limits.append(60 * self.settings.budget_minutes - self.counters.seconds)
        return max(0.0, min(limits))


def _join(values: dict[str, float]) -> str:
    return "  ".join(f"{key} {value:.4g}" for key, value in values.items())
