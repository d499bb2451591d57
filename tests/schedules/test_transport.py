"""Edits that read the posed views: transport, a start from them, an editor that reads them, and the views themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.consolidation.job import EditJob, Posed
from qnerf.consolidation.posed import held, shared
from qnerf.consolidation.targets import TargetQueries
from qnerf.denoising.ddim import Trajectory
from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.errors import UserError
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.scenes.region import EditedRegion
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.oracle import OracleSettings
from qnerf.schedules.posed import PosedSettings
from qnerf.schedules.progressive import ProgressiveSettings
from qnerf.schedules.transport import TransportSettings, mean_trust
from tests.schedules.helpers import edit, layers, make_job
from tests.schedules.test_edit import Memory

MIXED, HARD, SOFT = MixedSettings(name="mixed"), HardSettings(name="hard"), SoftSettings(name="soft", step_size=0.05)
ALONE = TransportSettings(name="transport", consolidate_below=0.0, hold_until=0.0)
ALWAYS = TransportSettings(name="transport", interval=2, consolidate_below=1.0, hold_until=0.0)
BOTH = ALWAYS.model_copy(update={"full_until": 0.6, "consolidate_from": 0.3, "feedback": FeedbackSettings(at=0.7, weight=0.5)})
STARTED = {"start": "posed", "start_at": 0.4}


def posed_job(trust: float | Tensor = 1.0, **changes: Any) -> tuple[EditJob, Any]:
    """A job whose posed views are other pictures than the source's: their trajectory is the source's with its views exchanged."""
    job, work = make_job(**changes)
    trust = trust if isinstance(trust, Tensor) else torch.full((job.views, 32, 32), trust)
    images = torch.rand(job.views, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    ones = torch.ones_like(trust)
    posed = Posed(images, trust, ones, ones, Trajectory(job.trajectory.states.flip(1)), job.source)
    return replace(job, posed=posed), work


def test_full_trust_is_the_oracle_on_the_posed_views() -> None:
    job, _ = posed_job()
    assert job.posed is not None
    oracle = replace(job, oracle=job.posed.trajectory)
    for guidance in (MIXED, SOFT):
        assert torch.equal(edit(ALONE, guidance, job).latents, edit(OracleSettings(name="oracle"), guidance, oracle).latents)


@pytest.mark.parametrize("guidance", [MIXED, HARD, MixedSettings(name="mixed", weights="component")])
def test_no_trust_is_the_progressive_schedule(guidance: Any) -> None:
    """So a proxy that fits nowhere costs nothing but time."""
    job, _ = posed_job(0.0)
    wanted = edit(ProgressiveSettings(name="progressive", interval=2), guidance, job)
    found = edit(ALWAYS, guidance, job)
    assert torch.equal(found.latents, wanted.latents)
    assert [record.step for record in found.intervals] == [record.step for record in wanted.intervals]


def test_fields_are_trained_where_the_posed_views_are_not_trusted(caplog: pytest.LogCaptureFixture) -> None:
    """The mean over what moves decides: half of it is trusted at .9, the other at .1, and what does not move at 1."""
    trust, moved = torch.ones(4, 8, 8), torch.zeros(4, 8, 8)
    moved[:, 2:6, 2:6] = 1
    trust[:, 2:6, 2:4], trust[:, 2:6, 4:6] = 0.9, 0.1
    job, _ = posed_job(trust, region=EditedRegion(torch.ones(4, 8, 8), moved))
    assert mean_trust(job) == pytest.approx(0.5)
    for below, fields in ((0.49, False), (0.51, True)):
        schedule = TransportSettings(name="transport", interval=2, consolidate_below=below, hold_until=0.0)
        done, more = Counter[str](), Counter[str]()

        def count(kind: str, amount: float, done: Counter[str] = done) -> None:
            done[kind] += amount  # pyright: ignore[reportArgumentType]

        found = edit(schedule, MIXED, replace(job, on_work=count, on_more=more.update))
        planned = schedule.work(MIXED, 6, 4)
        assert more["field"] == len(found.intervals)
        for kind in ("unet", "field"):
            assert done[kind] == pytest.approx(planned.get(kind, 0) + more[kind])
        same = edit(ALWAYS if fields else ALONE, MIXED, job)
        assert torch.equal(found.latents, same.latents)
        assert bool(found.intervals) == fields == ("Does the proxy fit" in caplog.text)


def test_each_token_is_guided_by_what_it_is_given_to() -> None:
    """Where trust is 1 the posed views' queries alone count, where it is 0 the rendered ones alone."""
    trust = torch.zeros(4, 8, 8)
    trust[:, :, 4:] = 1
    (layer,) = layers(13)
    rows, columns = layer.token_grid((8, 8))
    maps = torch.randn(2, 4, rows * columns, 16, generator=torch.Generator().manual_seed(0))
    one = TargetQueries({layer: maps[0]}, {layer: 1.0}, {layer: 1.0}, {layer: torch.eye(16)})
    other = replace(one, maps={layer: maps[1]})
    both = shared(one, trust, other, (8, 8))
    first, second = (target.token_weights(torch.ones(4, 1, 8, 8), layer).view(4, rows, columns) for target in both.each)
    assert first[..., columns // 2 :].eq(1).all()
    assert first[..., : columns // 2].eq(0).all()
    assert torch.equal(first + second, torch.ones_like(first))
    assert shared(one, 0.25 * trust, None, (8, 8)).token_weights(torch.ones(4, 1, 8, 8), layer).max() == 0.25
    views, at_home = both.views(slice(1, 3)), both.to(torch.device("cpu"))
    assert views.beside is not None
    assert torch.equal(views.beside.maps[layer], maps[1, 1:3])
    assert views.weights is not None
    assert views.weights[layer].shape == (2, rows * columns, 1)
    assert at_home.beside is not None
    assert torch.equal(at_home.beside.maps[layer], maps[1])


def test_the_posed_views_guide_the_object_whatever_the_region_of_the_fields() -> None:
    """The object's left half alone, of which the lower part moves."""
    left, low = torch.zeros(4, 8, 8), torch.zeros(4, 8, 8)
    left[..., :4], low[:, 4:, :4] = 1, 1
    (layer,) = layers(13)
    rows, columns = layer.token_grid((8, 8))
    maps = torch.zeros(4, rows * columns, 16)
    one = TargetQueries({layer: maps}, {layer: 1.0}, {layer: 1.0}, {layer: torch.eye(16)})
    both = shared(one, torch.full((4, 8, 8), 0.75), one, (8, 8), left[:, None])
    first, second = (target.token_weights(low[:, None], layer).view(4, rows, columns) for target in both.each)
    assert first[..., : columns // 2].eq(0.75).all()
    assert first[..., columns // 2 :].eq(0).all()
    assert second[:, rows // 2 :, : columns // 2].eq(0.25).all()
    assert second.sum() == 0.25 * 4 * (rows // 2) * (columns // 2)


def test_a_target_of_two_blends_and_pulls_like_each_where_it_counts() -> None:
    """Queries guided by both, a token by one alone: as by one target that has each token's own queries."""
    job, _ = make_job()
    trust = torch.zeros(4, 8, 8)
    trust[:, 4:] = 1
    chosen = layers(11, 13)
    branch, z = job.branch(slice(0, 4)), job.trajectory.states[2]

    def channels(layer: AttentionLayer) -> int:
        to_q: Any = job.backbone.unet.get_submodule(layer.path).to_q
        return to_q.out_features

    generator = torch.Generator().manual_seed(1)

    def random_target() -> TargetQueries:
        maps = {}
        for layer in chosen:
            rows, columns = layer.token_grid((8, 8))
            maps[layer] = torch.randn(4, rows * columns, channels(layer), generator=generator)
        return TargetQueries(
            maps,
            dict.fromkeys(chosen, 1.0),
            dict.fromkeys(chosen, 1.0),
            {layer: torch.eye(q.shape[-1]) for layer, q in maps.items()},
        )

    one, other = random_target(), random_target()
    both = shared(one, trust, other, (8, 8))
    assert both.weights is not None
    merged = {layer: torch.where(both.weights[layer] > 0, one.maps[layer], other.maps[layer]) for layer in chosen}
    single = replace(one, maps=merged)
    coarse = {layer for layer, w in both.weights.items() if not ((w == 0) | (w == 1)).all()}
    assert not coarse  # a token lies in one half or the other
    hard = HARD.build()
    torch.testing.assert_close(hard.step(branch, z, 2, both), hard.step(branch, z, 2, single))


def test_the_share_of_transport_falls() -> None:
    schedule = TransportSettings(name="transport", full_until=0.5, gone_at=0.9)
    assert [round(schedule.transported(k, 10), 3) for k in range(10)] == [1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    assert [ALONE.transported(k, 4) for k in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "schedule",
    [
        ALONE,
        BOTH,
        BOTH.model_copy(update={"full_until": 0.2, "gone_at": 0.5, **STARTED}),
        BOTH.model_copy(update={"hold_until": 0.5}),
        ProgressiveSettings(name="progressive", interval=2, **STARTED),
        OneShotSettings(name="one_shot", interval=2, **STARTED),
        IndependentSettings(name="independent", **STARTED),
        PosedSettings(name="posed"),
    ],
)
@pytest.mark.parametrize("guidance", [SOFT.model_copy(update={"until": 0.7}), MIXED])
def test_planned_work_is_the_work_done(schedule: Any, guidance: Any) -> None:
    job, work = posed_job(0.5, steps=7)
    edit(schedule, guidance, job)
    planned = schedule.work(guidance, steps=7, views=4)
    for kind in ("unet", "field", "feedback"):
        assert work[kind] == pytest.approx(planned.get(kind, 0)), kind


def test_a_broken_edit_goes_on_as_if_unbroken() -> None:
    job, _ = posed_job(0.5)
    whole = edit(BOTH, MIXED, job).latents
    memory = Memory()
    edit(BOTH, MIXED, job, memory)
    memory.kept.pop(max(memory.kept))
    assert memory.kept
    assert torch.equal(edit(BOTH, MIXED, job, memory).latents, whole)


def test_chunks_change_results_by_rounding_only() -> None:
    found = [edit(BOTH, MIXED, posed_job(0.5, chunk_size=size)[0]).latents for size in (4, 1)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_a_start_from_the_posed_views_takes_their_state_where_parts_move() -> None:
    moved = torch.zeros(4, 8, 8)
    moved[:, 2:5, 3:6] = 1
    job, _ = posed_job(steps=5, region=EditedRegion(torch.ones(4, 8, 8), moved))
    schedule = IndependentSettings(name="independent", **STARTED)
    state = schedule.first_state(5)
    assert state == 2
    z = job.first_latents(schedule.start, state)
    posed, _ = job.needed_posed().inverted()
    inside = moved[:, None].expand_as(z) > 0
    assert torch.equal(z[inside], posed.states[2][inside])
    assert torch.equal(z[~inside], job.trajectory.states[2][~inside])
    assert IndependentSettings(name="independent").first_state(5) == 0
    assert not torch.equal(edit(schedule, MIXED, job).latents, edit(IndependentSettings(name="independent"), MIXED, job).latents)


def test_trusted_places_of_the_object_are_held() -> None:
    trust, region = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(5)), torch.ones(2, 1, 8, 8)
    region[:, :, :, 6:] = 0
    means = trust.view(2, 8, 2, 8, 2).mean((2, 4))
    means[..., 6:] = 0
    torch.testing.assert_close(held(trust, region, (8, 8))[:, 0], means)


@pytest.mark.parametrize("schedule", [ALONE, BOTH])
def test_with_full_trust_held_to_the_end_the_edit_is_the_posed_views(schedule: TransportSettings) -> None:
    job, _ = posed_job(steps=5)
    trajectory, _ = job.needed_posed().inverted()
    assert torch.equal(edit(schedule.model_copy(update={"hold_until": 1.0}), MIXED, job).latents, trajectory.states[-1])


def test_steps_after_the_last_held_state_are_the_models() -> None:
    """Held up to state 3 of 5 with full trust, the edit is what two guided steps make of the posed views' state 3."""
    job, _ = posed_job(steps=5)
    found = edit(ALONE.model_copy(update={"hold_until": 0.6}), MIXED, job).latents
    wanted = edit(ALONE.model_copy(update={"start": "posed", "start_at": 0.6}), MIXED, job).latents
    assert torch.equal(found, wanted)
    nothing = posed_job(0.0, steps=5)[0]
    assert torch.equal(
        edit(ALONE.model_copy(update={"hold_until": 1.0}), MIXED, nothing).latents, edit(ALONE, MIXED, nothing).latents
    )


def test_an_editor_that_reads_the_posed_branch_reads_its_states_and_control() -> None:
    """With posed views that are the source's own it is the editor that reads the source; with others it is another edit."""
    reads_posed = MasaCtrlSettings(name="masactrl", source="posed")
    plain, _ = make_job()
    own, _ = make_job(editor=reads_posed)
    own = replace(
        own,
        posed=Posed(
            torch.zeros(4, 3, 32, 32), torch.ones(4, 8, 8), torch.ones(4, 32, 32), torch.ones(4, 32, 32), own.trajectory, own.source
        ),
    )
    schedule = IndependentSettings(name="independent")
    wanted = edit(schedule, MIXED, plain).latents
    assert torch.equal(edit(schedule, MIXED, own).latents, wanted)
    assert not torch.equal(edit(schedule, MIXED, posed_job(editor=reads_posed)[0]).latents, wanted)


def test_the_posed_views_themselves_are_a_method() -> None:
    job, work = posed_job()
    assert job.posed is not None
    result = edit(PosedSettings(name="posed"), OffSettings(name="off"), job)
    assert result.images is not None
    assert torch.equal(result.images, job.posed.images)
    assert result.latents.shape == job.trajectory.states[0].shape
    assert not work


def test_what_cannot_work_is_told() -> None:
    with pytest.raises(UserError, match="posed views are missing"):
        edit(ALONE, MIXED, make_job()[0])
    problem = TransportSettings(name="transport", full_until=0.9, gone_at=0.5).problem(MIXED, 30, "baselines.x.")
    assert problem
    assert "baselines.x.schedule.gone_at" in problem
    problem = ALONE.problem(OffSettings(name="off"), 30, "")
    assert problem
    assert "guidance=explained" in problem
    late = ProgressiveSettings(name="progressive", start="posed", start_at=0.9).problem(MIXED, 30, "")
    assert late
    assert "schedule.start_at" in late


def test_only_a_schedule_that_always_trains_fields_needs_room_for_them() -> None:
    short = TransportSettings(name="transport", interval=5)
    assert short.problem(MIXED, 4, "") is None
    always = short.model_copy(update={"consolidate_below": 1.0})
    assert "schedule.interval: got 5; expected less than steps, 4" in str(always.problem(MIXED, 4, ""))
    late = always.model_copy(update={"consolidate_from": 1.0})
    assert str(late.problem(MIXED, 30, "")).startswith("schedule.consolidate_from: got 1, behind the last interval")
