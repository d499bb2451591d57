"""Progressive consolidation, QNeRF's own schedule (docs/method.md §2.6; Patashnik et al. 2024, §4.3)."""

from __future__ import annotations

from typing import Literal

from qnerf.schedules.look_ahead import LookAhead, LookAheadSettings
from qnerf.schedules.schedule import Schedule


class ProgressiveSettings(LookAheadSettings):
    """The paper's, where `warm_start` and `feedback` are None."""

    name: Literal["progressive"]

    def unguided(self, stop: int) -> bool:
        return stop == self.interval and self.start == "source" and not self.skip

    def build(self) -> Schedule:
        return LookAhead(self)
