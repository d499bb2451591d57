"""Intervals with a look-ahead, whose queries train the field of the next: what the progressive schedule and transport
share (docs/method.md §2.6; Patashnik et al. 2024, §4.3)."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from qnerf.guidance.guidance import GuidanceSettings
from qnerf.schedules.intervals import IntervalSettings
from qnerf.schedules.schedule import Schedule, Work
from qnerf.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.layers import AttentionLayer
    from qnerf.consolidation.checkpoint import Checkpoints, FinishedInterval
    from qnerf.consolidation.job import EditJob
    from qnerf.consolidation.result import EditResult
    from qnerf.consolidation.targets import TargetQueries
    from qnerf.fields.query_field import QueryField
    from qnerf.guidance.guidance import Guidance

    Layers = tuple[AttentionLayer, ...]

log = logging.getLogger(__name__)


class FeedbackSettings(Settings):
    """at: share of the steps after which the views are pulled towards a radiance field trained on all of
    them, but not before the last query field is trained. weight: how far, up to 1 (all the way)."""

    at: float = Field(gt=0, lt=1)
    weight: float = Field(gt=0, le=1)


class LookAheadSettings(IntervalSettings):
    """A new field every `interval` steps, trained on queries of a look-ahead. warm_start: each field
    except the first starts from the previous one and trains for this share of the iterations; None: every
    field starts from random weights. feedback: pull the views once towards a radiance field (ours); None:
    never (the paper)."""

    warm_start: float | None = Field(default=None, gt=0, le=1)
    feedback: FeedbackSettings | None = None

    @property
    def trains_radiance_field(self) -> bool:
        return self.feedback is not None

    def work(self, guidance: GuidanceSettings, steps: int, views: int) -> Work:
        stops, backs = self.stops(guidance, steps), 0 if self.feedback is None else 1
        look_ahead = sum(self.end(stop, steps) - stop for stop in stops)
        later = 1.0 if self.warm_start is None else self.warm_start
        fields = 1 + later * (len(stops) - 1) if stops else 0
        unet = self.start_passes(steps) + views * (self.guided_passes(guidance, steps) + look_ahead + backs)
        return {"unet": unet, "field": fields, "feedback": backs}

    def kept_intervals(self, guidance: GuidanceSettings, steps: int) -> list[int]:
        return self.stops(guidance, steps)

    def interval_settings(self) -> dict[str, Any]:
        return self.model_copy(update={"feedback": None}).effective_settings()


class LookAhead(Schedule):
    """Intervals as `IntervalSettings.ends` lays them out, guided by the field of the interval before
    (none in the first).

    At the end of each, its latents are kept while as many unguided look-ahead steps go on; the queries
    of the last of them train the next field. So every guided step is visited unguided first, then
    guided. Where guidance has ended (`guidance.until`) no field is needed any more, and plain steps
    lead to the end, with one step back on the way if there is a `schedule.feedback`.
    """

    settings: LookAheadSettings

    def edit(self, guidance: Guidance, layers: Layers, job: EditJob, checkpoints: Checkpoints) -> EditResult:
        from qnerf.consolidation.checkpoint import unpack
        from qnerf.consolidation.feedback import feed_back
        from qnerf.consolidation.result import EditResult

        count, last = len(job.steps), None
        start = self.settings.first_state(count)
        records = []
        job.editor.restore({})
        for stop in self.settings.stops(guidance.settings, count):
            compute = partial(self._finish_interval, guidance, layers, job, start, stop, last)
            last = unpack(checkpoints.once(stop, compute), layers)
            job.restore_editor(last.editor)
            records.append(last.record)
            start = stop
        z, target, feedback = self._latents(job, last), last and last.target, self.settings.feedback
        if feedback is not None:
            # The clean state has no noise to predict, so the last step is the latest that can be fed
            # back before.
            state = min(max(round(feedback.at * count), start), count - 1)
            z = self.steps(guidance, layers, job, z, start, state, target)
            z, start = feed_back(job, feedback.weight, z, state), state
        return EditResult(self.steps(guidance, layers, job, z, start, count, target), records)

    def steps(
        self, guidance: Guidance, layers: Layers, job: EditJob, z: Tensor, start: int, stop: int, target: TargetQueries | None
    ) -> Tensor:
        """All views (N, 4, h, w) from state `start` to `stop`, guided by what the last field renders, if there is one."""
        from qnerf.consolidation.phases import guided_steps

        return guided_steps(job, guidance, z, start, stop, target)

    def _finish_interval(
        self, guidance: Guidance, layers: Layers, job: EditJob, start: int, stop: int, last: FinishedInterval | None
    ) -> dict[str, Tensor]:
        """The interval from state `start` to `stop`, guided by the field of the `last` one, packed."""
        from qnerf.consolidation.checkpoint import pack

        z = self.steps(guidance, layers, job, self._latents(job, last), start, stop, last and last.target)
        return pack(self._look_ahead(layers, job, z, stop, last.field if last else {}))

    def _look_ahead(self, layers: Layers, job: EditJob, z: Tensor, start: int, previous: dict[str, Tensor]) -> FinishedInterval:
        """Unguided steps from state `start` on, and the field that the queries of the last of them
        train."""
        from qnerf.consolidation.checkpoint import FinishedInterval
        from qnerf.consolidation.consolidate import consolidate, train_field
        from qnerf.consolidation.phases import plain_steps

        warm_start, last = self.settings.warm_start, self.settings.end(start, len(job.steps)) - 1
        state = job.editor_state()  # to which the editor is taken back after the look-ahead
        _, recorded = plain_steps(job, z, start, last + 1, record_at=(last,), layers=layers)
        queries = {"": recorded[last]}
        before = field_before(previous, job)
        field = train_field(job, queries, f"interval {last}", before, 1.0 if before is None else warm_start or 1.0)
        targets, records = consolidate(job, field, queries, {"": last})
        return FinishedInterval(z, targets[""], records[0], {} if warm_start is None else field.state(), state)

    def _latents(self, job: EditJob, last: FinishedInterval | None) -> Tensor:
        return last.latents if last else job.first_latents(self.settings.start, self.settings.first_state(len(job.steps)))


def field_before(state: dict[str, Tensor], job: EditJob) -> QueryField | None:
    """The field that a kept interval left, to start the next one's from. None where it left none, or
    one of another encoding: kept by a machine that has tiny-cuda-nn and gone on with by one that has
    not, or the other way round."""
    from qnerf.fields.query_field import ForeignFieldError, QueryField

    try:
        return QueryField.from_state(state, job.field, job.device) if state else None
    except ForeignFieldError as error:
        log.warning("%s; the field of this interval starts from random weights", error)
        return None
