"""One shot: a single field trained on the queries cached at the ends of intervals along an independent
edit, a head for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.intervals import IntervalSettings
from qnerf.schedules.schedule import Schedule, Work

if TYPE_CHECKING:
    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.guidance.guidance import Guidance


class OneShotSettings(IntervalSettings):
    """interval, growth: where the independent edit's queries are cached."""

    name: Literal["one_shot"]

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        return {"unet": views * (self.guided_passes(guidance, steps) + steps), "field": 1}

    def build(self) -> Schedule:
        return OneShot(self)


class OneShot(Schedule):
    settings: OneShotSettings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.consolidate import consolidate, train_field
        from qnerf.consolidation.phases import guided_steps, plain_steps
        from qnerf.consolidation.result import EditResult

        s, count, z, start = self.settings, len(job.steps), job.trajectory.states[0], 0
        ends = {str(k): s.end(k, count) - 1 for k in s.stops(guidance.settings, count)}
        job.editor.restore({})
        _, recorded = plain_steps(job, z, 0, count, record_at=tuple(ends.values()), layers=layers)
        queries = {label: recorded[end] for label, end in ends.items()}
        targets, records = consolidate(job, train_field(job, queries, "one shot"), queries, ends)
        job.editor.restore({})
        for end in s.ends(count):
            z, start = guided_steps(job, guidance, z, start, end, targets.get(str(start))), end
        return EditResult(z, records)
