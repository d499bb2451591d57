"""At which denoising steps a field is trained. Needs neither torch nor a model: plans ask it too."""

from __future__ import annotations

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import StartingSettings


class IntervalSettings(StartingSettings):
    """interval: steps of the first. growth: of each interval over the one before, since early steps
    decide about geometry and late ones about detail; 1: all are as long (the paper's)."""

    interval: int = Field(default=5, ge=1)
    growth: float = Field(default=1.0, ge=0.5, le=3)

    @property
    def consolidates(self) -> bool:
        return True

    @property
    def trains_fields(self) -> bool:
        return True

    def ends(self, steps: int) -> list[int]:
        """The states at which intervals end; the last is the clean state, `steps`. The first interval has
        `interval` steps, each next one `growth` times as many, and at least one."""
        ends, exact, length = [], 0.0, float(self.interval)
        while not ends or ends[-1] < steps:
            exact, length = exact + max(length, 1.0), length * self.growth
            ends.append(min(int(exact + 0.5), steps))
        return ends

    def end(self, start: int, steps: int) -> int:
        """The end of the interval that starts at state `start`."""
        return next(end for end in self.ends(steps) if end > start)

    def stops(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        """The states at which an interval begins that is guided, each by a field of its own (one shot:
        by heads of its own).

        Once guidance has ended there are none, since nothing would use them; guidance=off has all, to
        be looked at.
        """
        first = self.first_state(steps)
        ends = [end for end in self.ends(steps)[:-1] if end > first]
        return [stop for stop in ends if guidance.only_shows or guidance.guides(stop, steps)]

    def guided_passes(self, guidance: GuidanceSettings, steps: int) -> int:
        """U-Net passes of one view in all steps, those of the first interval unguided."""
        first = self.first_state(steps)
        begin = self.end(first, steps)
        return begin - first + sum(guidance.step_passes(k, steps) for k in range(begin, steps))

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        if self.interval >= steps:
            return f"{where}schedule.interval: got {self.interval}; expected less than steps, {steps}, or no field is ever trained"
        if self.first_state(steps) >= self.ends(steps)[-2]:
            key = "skip" if self.start == "source" else "start_at"
            return (
                f"{where}schedule.{key}: the edit starts at state {self.first_state(steps)} of {steps}, behind state "
                f"{self.ends(steps)[-2]}, where the last field is trained; expected an earlier start, or a shorter "
                f"{where}schedule.interval"
            )
        if not self.stops(guidance, steps):
            return (
                f"{where}guidance.until: guidance ends before step {self.interval} of {steps}, where the first field is trained; "
                f"expected more than {self.interval / steps:.3g}, or a shorter {where}schedule.interval"
            )
        return None
