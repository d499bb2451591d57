"""From recorded queries to a target: which seed and how many iterations train a field, and which views measure it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
from qnerf.consolidation import consolidate as module
from qnerf.consolidation import phases
from qnerf.consolidation.along import queries_along
from qnerf.consolidation.consolidate import consolidate, derive_seed, name, train_field
from qnerf.fields.query_field import RenderedQueries
from qnerf.guidance.hard import HardSettings
from qnerf.schedules.one_shot import OneShotSettings
from tests.schedules.helpers import edit, layers, make_job, tiny_field


def test_each_interval_and_each_run_has_a_seed_of_its_own_and_a_warm_start_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        module, "train_query_field", lambda maps, cameras, space, field, seed, **_: seen.append((seed, field.optimiser.iterations))
    )
    job, _ = make_job()
    queries = {"": {layer: torch.rand(4, 16, 8) for layer in layers(10)}}
    for run, key, share in ((job, "interval 3", 1.0), (job, "interval 5", 0.5), (replace(job, seed=1), "interval 3", 0.01)):
        train_field(run, queries, key, share=share)
    assert [iterations for _, iterations in seen] == [4, 2, 1]
    assert [seed for seed, _ in seen] == [derive_seed(0, "interval 3"), derive_seed(0, "interval 5"), derive_seed(1, "interval 3")]
    assert len({seed for seed, _ in seen}) == 3


def test_views_that_were_left_out_measure_the_field() -> None:
    """A field that knows the views which trained it exactly, and nothing of the others, explains nothing."""
    (layer,) = layers(10)
    job, _ = make_job(field=tiny_field().model_copy(update={"heldout_every": 2}))
    recorded = torch.rand(4, 16, 8)
    for left_out in (1, 0):
        maps = recorded.clone()
        maps[left_out::2] = recorded.mean()

        whole, ones = {name("", layer): maps.unflatten(1, (4, 4))}, {name("", layer): torch.ones(4, 4, 4)}
        field = SimpleNamespace(render_to=lambda *_, whole=whole, ones=ones: RenderedQueries(whole, ones, ones))
        targets, _ = consolidate(job, field, {"": {layer: recorded}}, {"": 3})  # pyright: ignore[reportArgumentType]
        assert (targets[""].r2[layer] > 0.9) == (left_out == 0), "every second view from the second on is left out"


def test_one_shot_guides_each_interval_by_the_queries_of_its_own_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, Tensor | None] = {}
    real = phases.guided_steps

    def watched(job: Any, guidance: Any, z: Tensor, start: int, stop: int, target: Any) -> Tensor:
        seen[start] = target and target.maps[layers(13)[0]]
        return real(job, guidance, z, start, stop, target)

    monkeypatch.setattr(phases, "guided_steps", watched)
    found = edit(OneShotSettings(name="one_shot", interval=2), HardSettings(name="hard"), make_job()[0])
    assert list(seen) == [0, 2, 4]
    assert seen[0] is None
    for start, record in zip((2, 4), found.intervals, strict=True):
        queries = seen[start]
        assert queries is not None
        assert record.step == start + 1
        assert torch.equal(queries.unflatten(1, (8, 8)), record.rendered)


def test_the_oracles_queries_are_those_of_the_same_step_of_its_inversion() -> None:
    job, _ = make_job(chunk_size=2)
    found = queries_along(job, job.trajectory, layers(10, 13), 3)
    record = RecordQueries()
    with torch.no_grad(), job.backbone.bound(Edits.at(layers(10, 13), record), Batch.of(3, [CONDITIONAL], 4)):
        job.backbone.predict(job.trajectory.states[3], job.steps.timesteps[3], job.target)
    for layer, queries in record.queries.items():
        torch.testing.assert_close(found.maps[layer], queries, rtol=0, atol=1e-4)
