"""The schedules: how an edit walks through the denoising steps (METHOD §2.6; Patashnik et al. 2024, §4.3)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.errors import UserError
from qnerf.fields.query_field import ForeignFieldError, QueryField
from qnerf.guidance.settings import GuidanceSettings
from qnerf.guidance.steps import guides
from qnerf.schedules.checkpoint import Checkpoints, FinishedInterval, pack, unpack
from qnerf.schedules.consolidate import IntervalRecord, consolidate, train_field
from qnerf.schedules.feedback import feed_back
from qnerf.schedules.job import EditJob
from qnerf.schedules.oracle import oracle_queries
from qnerf.schedules.phases import guided_steps, plain_steps
from qnerf.schedules.settings import (
    IndependentSettings,
    OneShotSettings,
    OracleSettings,
    ProgressiveSettings,
    ScheduleSettings,
    SourceSettings,
)
from qnerf.schedules.stops import interval_end, interval_ends, interval_stops

log = logging.getLogger(__name__)

Layers = tuple[AttentionLayer, ...]
FieldState = dict[str, Tensor]


@dataclass(frozen=True)
class EditResult:
    """latents: (N, 4, h, w), clean. intervals: a record of each field that was trained."""

    latents: Tensor
    intervals: list[IntervalRecord] = field(default_factory=list)


def run_schedule(
    schedule: ScheduleSettings, guidance: GuidanceSettings, layers: Layers, job: EditJob, checkpoints: Checkpoints
) -> EditResult:
    """Edit all views of the job. layers: whose queries are captured. checkpoints: where finished intervals are kept."""
    if isinstance(schedule, SourceSettings):
        return EditResult(job.trajectory.states[-1])
    if isinstance(schedule, IndependentSettings):
        return EditResult(plain_steps(job, job.trajectory.states[0], 0, len(job.steps))[0])
    if isinstance(schedule, OracleSettings):
        return edit_by_oracle(guidance, layers, job)
    if isinstance(schedule, OneShotSettings):
        return edit_in_one_shot(schedule, guidance, layers, job)
    return edit_progressively(schedule, guidance, layers, job, checkpoints)


def edit_progressively(
    schedule: ProgressiveSettings, guidance: GuidanceSettings, layers: Layers, job: EditJob, checkpoints: Checkpoints
) -> EditResult:
    """Intervals as `interval_ends` lays them out, guided by the field of the interval before (none in the first).

    At the end of each, its latents are kept while as many unguided look-ahead steps go on; the queries of the last of
    them train the next field. So every guided step is visited unguided first, then guided. Where guidance has ended
    (`guidance.until`) no field is needed any more, and plain steps lead to the end, with one step back on the way if there is
    a `schedule.feedback`.
    """
    count, start, last = len(job.steps), 0, None
    records: list[IntervalRecord] = []
    for stop in interval_stops(schedule, guidance, count):
        compute = partial(finish_interval, schedule, guidance, layers, job, start, stop, last)
        last = unpack(checkpoints.once(stop, compute), layers)
        records.append(last.record)
        start = stop
    z, target = _latents(job, last), last and last.target
    if schedule.feedback is not None:
        # The clean state has no noise to predict, so the last step is the latest that can be fed back before.
        state = min(max(round(schedule.feedback.at * count), start), count - 1)
        z, start = feed_back(job, schedule.feedback, guided_steps(job, guidance, z, start, state, target), state), state
    return EditResult(guided_steps(job, guidance, z, start, count, target), records)


def finish_interval(
    schedule: ProgressiveSettings,
    guidance: GuidanceSettings,
    layers: Layers,
    job: EditJob,
    start: int,
    stop: int,
    last: FinishedInterval | None,
) -> dict[str, Tensor]:
    """The interval from state `start` to `stop`, guided by the field of the `last` one, packed."""
    z = guided_steps(job, guidance, _latents(job, last), start, stop, last and last.target)
    return pack(look_ahead(schedule, layers, job, z, stop, last.field if last else {}))


def _latents(job: EditJob, last: FinishedInterval | None) -> Tensor:
    return last.latents if last else job.trajectory.states[0]


def look_ahead(
    schedule: ProgressiveSettings, layers: Layers, job: EditJob, z: Tensor, start: int, previous: FieldState
) -> FinishedInterval:
    """Unguided steps from state `start` on, and the field that the queries of the last of them train."""
    last = interval_end(schedule, start, len(job.steps)) - 1
    _, captured = plain_steps(job, z, start, last + 1, capture_at=(last,), layers=layers)
    queries = {"": captured[last]}
    before = field_before(previous, job)
    field = train_field(job, queries, f"interval {last}", before, 1.0 if before is None else schedule.warm_start or 1.0)
    targets, records = consolidate(job, field, queries, {"": last})
    return FinishedInterval(z, targets[""], records[0], {} if schedule.warm_start is None else field.state())


def field_before(state: FieldState, job: EditJob) -> QueryField | None:
    """The field that a kept interval left, to start the next one's from. None where it left none, or one of another encoding: kept
    by a machine that has tiny-cuda-nn and gone on with by one that has not, or the other way round."""
    try:
        return QueryField.from_state(state, job.field, job.device) if state else None
    except ForeignFieldError as error:
        log.warning("%s; this interval's field begins anew", error)
        return None


def edit_in_one_shot(schedule: OneShotSettings, guidance: GuidanceSettings, layers: Layers, job: EditJob) -> EditResult:
    """A single field for the queries that an independent edit has at the ends of the intervals, each with its own heads."""
    count, z, start = len(job.steps), job.trajectory.states[0], 0
    ends = {str(k): interval_end(schedule, k, count) - 1 for k in interval_stops(schedule, guidance, count)}
    _, captured = plain_steps(job, z, 0, count, capture_at=tuple(ends.values()), layers=layers)
    queries = {label: captured[end] for label, end in ends.items()}
    targets, records = consolidate(job, train_field(job, queries, "one shot"), queries, ends)
    for end in interval_ends(schedule, count):
        z, start = guided_steps(job, guidance, z, start, end, targets.get(str(start))), end
    return EditResult(z, records)


def edit_by_oracle(guidance: GuidanceSettings, layers: Layers, job: EditJob) -> EditResult:
    """Guided at each step, as long as guidance lasts, by the true edited views' queries of that step."""
    if job.oracle is None:
        raise UserError(
            "schedule is 'oracle' but the scene folder has no truth/ with the true edited views: "
            "use a procedural scene or another schedule."
        )
    z = job.trajectory.states[0]
    for k in range(len(job.steps)):
        target = oracle_queries(job, job.oracle, layers, k) if guides(guidance, k, len(job.steps)) else None
        z = guided_steps(job, guidance, z, k, k + 1, target)
    return EditResult(z)
