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
        plain = steps - self.first_state(steps)
        return {"unet": self.start_passes(steps) + views * (self.guided_passes(guidance, steps) + plain), "field": 1}

    def build(self) -> Schedule:
        return OneShot(self)


class OneShot(Schedule):
    settings: OneShotSettings

    def edit(self, guidance: Guidance, layers: tuple[AttentionLayer, ...], job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.consolidate import consolidate, train_field
        from qnerf.consolidation.phases import guided_steps, plain_steps
        from qnerf.consolidation.result import EditResult

        s, count = self.settings, len(job.steps)
        start = s.first_state(count)
        z = job.first_latents(s.start, start)
        ends = {str(k): s.end(k, count) - 1 for k in s.stops(guidance.settings, count)}
        job.editor.restore({})
        _, recorded = plain_steps(job, z, start, count, record_at=tuple(ends.values()), layers=layers)
        queries = {label: recorded[end] for label, end in ends.items()}
        targets, records = consolidate(job, train_field(job, queries, "one shot"), queries, ends)
        job.editor.restore({})
        for end in (end for end in s.ends(count) if end > start):
            z, start = guided_steps(job, guidance, z, start, end, targets.get(str(start))), end
        return EditResult(z, records)
