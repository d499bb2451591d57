"""The schedules on a random backbone: which steps they visit, chunks, resume, and what they do without guidance."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.consolidation.consolidate import explained_components
from qnerf.consolidation.phases import plain_steps
from qnerf.denoising.ddim import Trajectory
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.errors import UserError
from qnerf.fields.settings import OptimiserSettings
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.scenes.region import EditedRegion
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.oracle import OracleSettings
from qnerf.schedules.progressive import ProgressiveSettings
from qnerf.schedules.source import SourceSettings
from tests.schedules.helpers import edit, in_precision, layers, make_job, tiny_field

SOFT = SoftSettings(name="soft", step_size=0.05, weights="equal")
HALF = in_precision(torch.float16)
SOURCE = SourceSettings(name="source")
INDEPENDENT = IndependentSettings(name="independent")
PROGRESSIVE = ProgressiveSettings(name="progressive", interval=2)
WARM = ProgressiveSettings(name="progressive", interval=2, warm_start=0.25)
ONE_SHOT = OneShotSettings(name="one_shot", interval=2)
GROWING = ProgressiveSettings(name="progressive", interval=1, growth=2)
FEEDBACK = ProgressiveSettings(name="progressive", interval=2, feedback=FeedbackSettings(at=0.7, weight=0.5))


class Memory:
    """Checkpoints in memory, with copies as a disk would make."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[str, Tensor]] = {}

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        if stop not in self.kept:
            self.kept[stop] = {key: value.clone() for key, value in compute().items()}
        return self.kept[stop]


@pytest.fixture(scope="module")
def independent() -> Tensor:
    return edit(INDEPENDENT, SOFT, make_job()[0]).latents


@pytest.mark.parametrize("schedule", [PROGRESSIVE, ONE_SHOT])
def test_without_guidance_every_schedule_is_the_independent_edit(schedule: Any, independent: Tensor) -> None:
    result = edit(schedule, OffSettings(name="off"), make_job()[0])
    assert torch.equal(result.latents, independent)
    assert len(result.intervals) == 2


@pytest.mark.parametrize("schedule", [PROGRESSIVE, ONE_SHOT])
def test_guidance_changes_the_edit_and_is_repeatable(schedule: Any, independent: Tensor) -> None:
    first, second = (edit(schedule, SOFT, make_job()[0]).latents for _ in range(2))
    assert torch.equal(first, second)
    assert (first - independent).abs().max() > 1e-3


@pytest.mark.parametrize(
    "guidance",
    [SOFT.model_copy(update={"weights": "component"}), HardSettings(name="hard"), MixedSettings(name="mixed", weights="component")],
)
def test_a_model_of_half_precision_edits_much_the_same(guidance: Any, independent: Tensor) -> None:
    """Queries, fields and the edit are float32 whatever the model computes in; guidance changes what it changes in float32. The
    fields have learnt something: of those that have not, the shares that they explain, which weigh the pull, are mere rounding."""
    field = tiny_field().model_copy(update={"optimiser": OptimiserSettings(iterations=60, rays_per_batch=64)})
    changed = edit(PROGRESSIVE, guidance, make_job(field=field)[0]).latents - independent
    half, plain = (edit(schedule, guidance, make_job(backbone=HALF, field=field)[0]) for schedule in (PROGRESSIVE, INDEPENDENT))
    assert {x.dtype for x in (half.latents, half.intervals[0].recorded, half.intervals[0].rendered)} == {torch.float32}
    off = half.latents - plain.latents - changed
    assert off.norm() < 0.1 * changed.norm() + 1e-3 * independent.norm()


def test_each_interval_captures_at_its_end_and_returns() -> None:
    result = edit(PROGRESSIVE, HardSettings(name="hard"), make_job(steps=7)[0])
    assert [record.step for record in result.intervals] == [3, 5, 6]  # 2-step look-aheads from 2, 4; the last is cut off
    record = result.intervals[0]
    assert record.recorded.shape == record.rendered.shape
    assert record.depth.shape == (4, 8, 8)
    assert set(record.r2) == {layer.path for layer in layers(10, 13)}


def test_intervals_that_grow_look_ahead_to_their_own_ends() -> None:
    """Of 1, 2, 4 steps: from 1 to 3 and from 3 to 7. One shot has the same queries."""
    for schedule in (GROWING, ONE_SHOT.model_copy(update={"interval": 1, "growth": 2})):
        assert [record.step for record in edit(schedule, HardSettings(name="hard"), make_job(steps=7)[0]).intervals] == [2, 6]


@pytest.mark.parametrize("schedule", [PROGRESSIVE, ONE_SHOT])
def test_no_field_is_trained_that_nothing_would_use(schedule: Any) -> None:
    """Guidance of the first 3 of 7 steps needs one field, of the interval that begins at 2; without guidance all are shown."""
    early = HardSettings(name="hard", until=3 / 7)
    assert [record.step for record in edit(schedule, early, make_job(steps=7)[0]).intervals] == [3]
    off = edit(schedule, OffSettings(name="off"), make_job(steps=7)[0])
    assert [record.step for record in off.intervals] == [3, 5, 6]
    assert torch.equal(off.latents, edit(INDEPENDENT, SOFT, make_job(steps=7)[0]).latents)


@pytest.mark.parametrize("schedule", [INDEPENDENT, PROGRESSIVE, ONE_SHOT])
def test_chunk_size_changes_nothing(schedule: Any) -> None:
    """Three views and one alone, in place of all four."""
    whole, parts = (edit(schedule, SOFT, make_job(chunk_size=size)[0]).latents for size in (4, 3))
    torch.testing.assert_close(whole, parts, rtol=0, atol=2e-4)


@pytest.mark.parametrize("warm_start", [None, 0.5])
def test_a_broken_run_goes_on_where_it_was(warm_start: float | None) -> None:
    schedule = ProgressiveSettings(name="progressive", interval=2, warm_start=warm_start)
    kept = Memory()
    whole = edit(schedule, SOFT, make_job()[0], kept)
    assert sorted(kept.kept) == [2, 4]
    del kept.kept[4]
    job, work = make_job()
    resumed = edit(schedule, SOFT, job, kept)
    assert torch.equal(resumed.latents, whole.latents)
    assert [r.step for r in resumed.intervals] == [r.step for r in whole.intervals]
    assert work["field"] == pytest.approx(warm_start or 1)


def test_a_field_that_another_machines_encoding_trained_is_no_start(caplog: pytest.LogCaptureFixture) -> None:
    """As where tiny-cuda-nn was installed in between: its intervals are gone on from, its field begins anew, and it is said so."""
    schedule = ProgressiveSettings(name="progressive", interval=2, warm_start=0.5)
    kept = Memory()
    edit(schedule, SOFT, make_job()[0], kept)
    del kept.kept[4]
    kept.kept[2]["field/module.trunk.encoding.grid.params"] = kept.kept[2].pop("field/module.trunk.encoding.table")
    job, work = make_job()
    edit(schedule, SOFT, job, kept)
    assert work["field"] == pytest.approx(1)
    assert "trained with another field.encoding" in caplog.text


def test_the_fields_depth_is_drawn_to_the_proxys() -> None:
    """Where the settings ask for it; the depth of what bounds the edited object is then nearer in the field's pictures too."""
    settings = tiny_field().model_copy(update={"depth_weight": 20.0, "optimiser": OptimiserSettings(iterations=60)})
    wanted = torch.full((4, 32, 32), 3.0)
    off = []
    for depth in (None, wanted):
        record = edit(PROGRESSIVE, SOFT, make_job(field=settings, target_depth=depth)[0]).intervals[0]
        off.append((record.depth - 3.0).abs().mean().item())
    assert off[1] < 0.7 * off[0]


def test_the_latest_feedback_is_before_the_last_step() -> None:
    """A share that rounds up to the end would ask for the noise of the clean state, of which there is none."""
    late = [PROGRESSIVE.model_copy(update={"feedback": FeedbackSettings(at=at, weight=0.5)}) for at in (5 / 6, 0.99)]  # of 6 steps
    one, other = (edit(schedule, SOFT, make_job()[0]).latents for schedule in late)
    assert torch.equal(one, other)


@pytest.mark.parametrize("schedule", [INDEPENDENT, PROGRESSIVE, OracleSettings(name="oracle")])
def test_outside_the_objects_region_the_source_stays(schedule: Any) -> None:
    """Bit for bit, by whatever method; inside, and everywhere where the editor does not keep it, the edit is another."""
    region = torch.zeros(4, 8, 8)
    region[:, 2:6, 2:6] = 1
    for keeps in (True, False):
        editor = MasaCtrlSettings(name="masactrl", keep_background=keeps)
        job, _ = make_job(region=EditedRegion(region, region), editor=editor)
        job = replace(job, oracle=job.trajectory)
        found, source = edit(schedule, SOFT, job).latents, job.trajectory.states[-1]
        same = (found == source).all(dim=1)
        assert torch.equal(same, region == 0) if keeps else not same.any()


@pytest.mark.parametrize(
    "schedule", [SOURCE, INDEPENDENT, PROGRESSIVE, WARM, FEEDBACK, GROWING, ONE_SHOT, OracleSettings(name="oracle")]
)
@pytest.mark.parametrize(
    "guidance",
    [SOFT, SOFT.model_copy(update={"until": 0.5}), SOFT.model_copy(update={"checkpointing": True}), HardSettings(name="hard")],
)
def test_planned_work_is_the_work_done(schedule: Any, guidance: Any) -> None:
    job, work = make_job(steps=5, views=2)
    edit(schedule, guidance, replace(job, oracle=Trajectory(job.trajectory.states)))
    planned = schedule.work(guidance, steps=5, views=2)
    assert work["unet"] == planned["unet"]
    for kind in ("field", "feedback"):
        assert work[kind] == pytest.approx(planned.get(kind, 0)), kind


def test_captured_queries_are_all_that_is_kept_of_a_pass() -> None:
    """Of one chunk, which is not joined with others: the rest of the batch, with the unconditional half in it, is not."""
    job, _ = make_job()
    _, recorded = plain_steps(job, job.trajectory.states[0], 0, 1, record_at=(0,), layers=layers(8, 10))
    for queries in recorded[0].values():
        assert queries.untyped_storage().nbytes() == queries.nbytes


def test_explained_components_by_hand() -> None:
    """Two independent axes, turned by 45 degrees: the first is rendered exactly, of the second three quarters of the variance.
    A fifth token outside, of another kind and rendered wrongly, does not count."""
    first, second = torch.tensor([1.0, 1.0]) / 2**0.5, torch.tensor([1.0, -1.0]) / 2**0.5
    a, b = torch.tensor([2.0, -2.0, 2.0, -2.0])[:, None], torch.tensor([1.0, 1.0, -1.0, -1.0])[:, None]
    outside, inside = torch.tensor([[50.0, 7.0]]), torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])[None, :, None]
    queries, rendered = torch.cat([a * first + b * second, outside]), torch.cat([a * first + 0.5 * b * second, -outside])
    matrix = explained_components(queries[None], rendered[None], inside)
    torch.testing.assert_close(matrix @ first, first)
    torch.testing.assert_close(matrix @ second, 0.75 * second)
    everything = explained_components(queries[None], rendered[None], torch.ones_like(inside))
    nothing = explained_components(queries[None], rendered[None], torch.zeros_like(inside))
    assert torch.equal(nothing, everything), "where no token is inside all count, as for R²"


def test_no_edit_is_the_encoded_source() -> None:
    job, work = make_job()
    assert torch.equal(edit(SOURCE, SOFT, job).latents, job.trajectory.states[-1])
    assert not work


def test_the_oracle_needs_truth() -> None:
    with pytest.raises(UserError, match="truth"):
        edit(OracleSettings(name="oracle"), SOFT, make_job()[0])
