"""What the schedules share that noise clean views to a state which is drawn, again and again (docs/method.md §5.1, §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.schedule import Schedule, ScheduleSettings

if TYPE_CHECKING:
    from qnerf.consolidation.job import EditJob


class DrawnSettings(ScheduleSettings):
    """noisiest, cleanest: training times between which states are drawn."""

    noisiest: int = Field(gt=0)
    cleanest: int = Field(default=20, ge=0)

    def problem(self, guidance: GuidanceSettings, steps: int, where: str) -> str | None:
        if self.cleanest < self.noisiest:
            return None
        return f"{where}schedule.cleanest: got {self.cleanest}; expected less than {where}schedule.noisiest, {self.noisiest}"


class Drawn(Schedule):
    settings: DrawnSettings

    def states(self, job: EditJob) -> list[int]:
        """The states among which is drawn. Raises UserError where there is none."""
        from qnerf.errors import UserError

        low, high = self.settings.cleanest, self.settings.noisiest
        found = [k for k, time in enumerate(job.steps.timesteps) if low <= time <= high]
        if not found:
            raise UserError(f"schedule.noisiest: none of the {len(job.steps)} steps lies between {low} and {high}; raise it")
        return found
