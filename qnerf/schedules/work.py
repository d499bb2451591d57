"""How much work a method is, before it starts: for a progress bar with a true ETA over the whole run.

Three kinds: "unet" counts UNet passes of one view (a guided soft step is one to predict and, for each inner step, one forward and
one backward, which costs two, or three where it computes activations again), "field" counts query fields trained (a warm start as
the share of the iterations that it takes), "feedback" radiance fields. The runner measures what each kind costs as it goes.
"""

from __future__ import annotations

from qnerf.guidance.settings import GuidanceSettings, SoftSettings
from qnerf.guidance.steps import guides
from qnerf.schedules.settings import ProgressiveSettings, ScheduleSettings
from qnerf.schedules.stops import interval_end, interval_stops

GRADIENT_COST = 3


def step_cost(guidance: GuidanceSettings, k: int, steps: int) -> int:
    """UNet passes per view of step k where there are queries to be guided by."""
    if isinstance(guidance, SoftSettings) and guides(guidance, k, steps):
        return 1 + (GRADIENT_COST + guidance.checkpointing) * guidance.inner_steps
    return 1


def planned_work(schedule: ScheduleSettings, guidance: GuidanceSettings, steps: int, views: int) -> dict[str, float]:
    """The work of one edit of `views` views in `steps` denoising steps, by kind."""
    if schedule.name == "source":
        return {"unet": 0.0}
    if schedule.name == "independent":
        return {"unet": steps * views}
    if schedule.name == "oracle":
        return {"unet": views * sum(guides(guidance, k, steps) + step_cost(guidance, k, steps) for k in range(steps))}
    stops = interval_stops(schedule, guidance, steps)
    guided = schedule.interval + sum(step_cost(guidance, k, steps) for k in range(schedule.interval, steps))
    if isinstance(schedule, ProgressiveSettings):
        look_ahead = sum(interval_end(schedule, stop, steps) - stop for stop in stops)
        backs = 0 if schedule.feedback is None else 1
        later = 1.0 if schedule.warm_start is None else schedule.warm_start
        fields = 1 + later * (len(stops) - 1) if stops else 0
        return {"unet": views * (guided + look_ahead + backs), "field": fields, "feedback": backs}
    return {"unet": views * (guided + steps), "field": 1}
