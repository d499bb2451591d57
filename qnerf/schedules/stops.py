"""At which denoising steps a field is trained. Needs neither torch nor a model: plans ask it too."""

from __future__ import annotations

from qnerf.guidance.settings import GuidanceSettings
from qnerf.guidance.steps import guides
from qnerf.schedules.settings import OneShotSettings, ProgressiveSettings


def interval_ends(schedule: ProgressiveSettings | OneShotSettings, steps: int) -> list[int]:
    """The states at which intervals end, the last of them the clean one, `steps`: the first after `schedule.interval` steps, each
    longer than the one before by `schedule.growth`, and of a step at least."""
    ends, exact, length = [], 0.0, float(schedule.interval)
    while not ends or ends[-1] < steps:
        exact, length = exact + max(length, 1.0), length * schedule.growth
        ends.append(min(int(exact + 0.5), steps))
    return ends


def interval_stops(schedule: ProgressiveSettings | OneShotSettings, guidance: GuidanceSettings, steps: int) -> list[int]:
    """The states at which an interval begins that is guided, each by a field of its own (one shot: by heads of its own).

    Once guidance has ended there are none, since nothing would use them; guidance=off has all, to be looked at.
    """
    return [stop for stop in interval_ends(schedule, steps)[:-1] if guidance.name == "off" or guides(guidance, stop, steps)]


def interval_end(schedule: ProgressiveSettings | OneShotSettings, start: int, steps: int) -> int:
    """Where the interval ends that begins at state `start`."""
    return next(end for end in interval_ends(schedule, steps) if end > start)
