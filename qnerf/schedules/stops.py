"""At which denoising steps a field is trained. Needs neither torch nor a model: plans ask it too."""

from __future__ import annotations

from qnerf.guidance.settings import GuidanceSettings
from qnerf.guidance.steps import guides
from qnerf.schedules.settings import OneShotSettings, ProgressiveSettings


def interval_stops(schedule: ProgressiveSettings | OneShotSettings, guidance: GuidanceSettings, steps: int) -> list[int]:
    """The states at which an interval begins that is guided, each by a field of its own (one shot: by heads of its own).

    Once guidance has ended there are none, since nothing would use them; guidance=off has all, to be looked at.
    """
    stops = range(schedule.interval, steps, schedule.interval)
    return [stop for stop in stops if guidance.name == "off" or guides(guidance, stop, steps)]
