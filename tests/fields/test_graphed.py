"""Field training replayed from a recording: bit-equal to the plain loop, and never wrong where it cannot be recorded."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.fields.query_field import LayerShape, QueryField
from qnerf.fields.rgb_field import train_rgb_field
from qnerf.fields.settings import FieldSettings, RgbFieldSettings
from qnerf.fields.train_query_field import QueryLoss, TokenBatches, _batches, train_query_field
from qnerf.graphs import never_record
from tests.fields.helpers import SPACE, field_settings, ring, sphere
from tests.tape import TapeRecorder

STEPS = 40  # the proposal grid is refreshed within
CAMERAS = ring(6)
QUERIES = {"a": sphere(CAMERAS, 8, 5)[0], "b": sphere(CAMERAS, 16, 4)[0]}


def trained(recorder_of: Any, **changes: Any) -> tuple[list[Tensor], list[float]]:
    settings = field_settings(STEPS).model_copy(update={"encoding": "torch", "trimmed": 0.1, "depth_weight": 0.1, **changes})
    losses: list[float] = []
    depth = torch.ones(len(CAMERAS), 16, 16)
    field = train_query_field(
        QUERIES,
        CAMERAS,
        SPACE,
        settings,
        3,
        target_depth=depth,
        on_step=lambda *step: losses.append(step[2]),
        recorder_of=recorder_of,
    )
    return list(field.state_dict().values()), losses


def test_a_replayed_training_is_bit_equal() -> None:
    recorder = TapeRecorder()
    found, plain = trained(recorder.of), trained(never_record)
    assert recorder.recorded == 1
    assert recorder.replayed == STEPS - 3
    assert found[1] == plain[1]
    assert all(torch.equal(a, b) for a, b in zip(found[0], plain[0], strict=True))


def test_warps_kernels_are_not_recorded() -> None:
    pytest.importorskip("warp")
    recorder = TapeRecorder()
    trained(recorder.of, encoding="warp")
    assert recorder.recorded == 0


def test_a_radiance_fields_training_is_too() -> None:
    settings = RgbFieldSettings.model_validate(
        {**field_settings(STEPS).model_dump(include={"grid", "optimiser"}), "encoding": "torch"}
    )
    images, recorder = torch.rand(6, 3, CAMERAS.height, CAMERAS.width), TapeRecorder()
    found, plain = (train_rgb_field(images, CAMERAS, SPACE, settings, 3, None, of) for of in (recorder.of, never_record))
    assert recorder.replayed == STEPS - 3
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), plain.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda value: value * (1 if value.item() > 0 else 2), "waits for the device"),
        (lambda value: value * torch.tensor(2.0), "copies from the host"),
    ],
)
def test_what_cannot_be_recorded_runs_plainly(
    broken: Any, why: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = QueryLoss.__call__

    def wrong(self: Any, step: Tensor, generator: torch.Generator) -> Tensor:
        return broken(right(self, step, generator))

    monkeypatch.setattr(QueryLoss, "__call__", wrong)
    plain, recorder = trained(never_record), TapeRecorder()
    with caplog.at_level(logging.WARNING):
        found = trained(recorder.of)
    assert recorder.replayed == 0
    assert [why in record.message for record in caplog.records] == [True]
    assert found[1] == plain[1]


def test_a_recording_that_leaves_something_out_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    recorder = TapeRecorder(forget=torch.ops.aten.index_put.default)  # the gradient of the hash grid's table
    found = trained(recorder.of)
    assert recorder.replayed == 1
    assert ["does not do what" in record.message for record in caplog.records] == [True]
    assert found[1] == trained(never_record)[1]


def test_targets_in_the_hosts_memory_are_fetched_for_their_step() -> None:
    """On the CPU all is in one place, so the fetching is asked for by itself."""
    settings = FieldSettings.model_validate(field_settings(2).model_dump())
    shapes = tuple(LayerShape(name, *value.shape[1:]) for name, value in QUERIES.items())
    field = QueryField(settings, SPACE, shapes, torch.device("cpu"), 0)
    there = [_batches(field, group, QUERIES, 0, torch.device("cpu")) for group in field.groups]
    away = [TokenBatches(b.grid, b.order, b.targets, b.layers, b.per_step, torch.zeros(b.per_step, sum(b.layers))) for b in there]
    loss = QueryLoss(field, away, CAMERAS, None)
    for step in (0, 7):
        loss.fetch(step)
        for a, b in zip(there, away, strict=True):
            torch.testing.assert_close(b.at(b.draw(step)), a.at(a.draw(torch.tensor(step))), rtol=0, atol=0)
