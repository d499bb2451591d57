"""What an editor carries from step to step: of all views, kept with intervals, and untouched by passes that are no steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.consolidation.checkpoint import FinishedInterval, pack, unpack
from qnerf.consolidation.consolidate import IntervalRecord
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.targets import TargetQueries
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.oracle import OracleSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.editors.examples import Mean, MeanSettings
from tests.schedules.helpers import edit, layers, make_job

OFF, SOFT = OffSettings(name="off"), SoftSettings(name="soft", step_size=0.05, weights="equal")
INDEPENDENT = IndependentSettings(name="independent")
PROGRESSIVE = ProgressiveSettings(name="progressive", interval=2)
ONE_SHOT = OneShotSettings(name="one_shot", interval=2)
STEPS = 6


class Memory:
    """Checkpoints that keep what is packed as it was then, as a disk does."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[str, Tensor]] = {}

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        if stop not in self.kept:
            self.kept[stop] = {key: value.clone() for key, value in compute().items()}
        return {key: value.clone() for key, value in self.kept[stop].items()}


def job_of(chunk_size: int = 4) -> tuple[EditJob, Mean]:
    job, _ = make_job(steps=STEPS, chunk_size=chunk_size, editor=MeanSettings())
    assert isinstance(job.editor, Mean)
    return job, job.editor


@pytest.mark.parametrize("schedule", [INDEPENDENT, PROGRESSIVE, ONE_SHOT])
def test_chunks_change_nothing(schedule: Any) -> None:
    """Three views and one alone, in place of all four."""
    latents, sums = [], []
    for size in (3, 4):
        job, editor = job_of(size)
        latents.append(edit(schedule, SOFT, job).latents)
        sums.append(editor.kept["sum"])
        assert editor.kept["steps"].tolist() == [STEPS] * 4
    torch.testing.assert_close(latents[0], latents[1], rtol=0, atol=2e-4)
    torch.testing.assert_close(sums[0], sums[1], rtol=0, atol=2e-3)


@pytest.mark.parametrize("schedule", [PROGRESSIVE, ONE_SHOT, OracleSettings(name="oracle")])
def test_look_ahead_and_a_first_walk_leave_no_trace(schedule: Any) -> None:
    """Without guidance every schedule is the independent edit, bit for bit, and its state that of so many steps."""
    job, editor = job_of()
    expected = edit(INDEPENDENT, OFF, job).latents
    state = editor.kept
    assert state["passes"].tolist() == [STEPS] * 4
    other, again = make_job(steps=STEPS, editor=MeanSettings(), oracle=job.trajectory)[0], Memory()
    assert torch.equal(edit(schedule, OFF, other, again).latents, expected)
    for key, value in state.items():
        assert torch.equal(other.editor.state()[key], value), key


def test_the_step_back_leaves_the_state_as_it_was() -> None:
    back = PROGRESSIVE.model_copy(update={"feedback": FeedbackSettings(at=0.7, weight=0.5)})
    job, editor = job_of(2)
    edit(back, OFF, job)
    assert editor.kept["passes"].tolist() == [STEPS] * 4, "the pass that is decoded is no step"
    assert editor.kept["steps"].tolist() == [STEPS] * 4


@pytest.mark.parametrize(("schedule", "walks"), [(INDEPENDENT, 1), (ONE_SHOT, 2), (OracleSettings(name="oracle"), 1)])
def test_every_walk_starts_from_nothing_also_by_an_editor_that_was_used_before(schedule: Any, walks: int) -> None:
    job, editor = job_of()
    job = make_job(steps=STEPS, editor=MeanSettings(), oracle=job.trajectory)[0]
    editor = job.editor
    assert isinstance(editor, Mean)
    first, second = edit(schedule, SOFT, job).latents, edit(schedule, SOFT, job).latents
    assert torch.equal(first, second)
    assert editor.restored == [[]] * (2 * walks)


@pytest.mark.parametrize("dies_at", [2, 3, 5])
def test_a_broken_edit_goes_on_bit_equal(dies_at: int) -> None:
    """Broken in the guided steps of the second interval or its look-ahead, by another editor object, as in another process. The
    first interval and its look-ahead have steps 0 to 3, so that the editor dies at the second visit of steps 2 and 3."""
    whole = edit(PROGRESSIVE, SOFT, job_of()[0], Memory()).latents
    kept, (job, editor) = Memory(), job_of()

    class First:
        """Lets the first interval be kept, and arms the editor then."""

        def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
            found = kept.once(stop, compute)
            editor.stop = dies_at
            return found

    with pytest.raises(KeyboardInterrupt):
        edit(PROGRESSIVE, SOFT, job, First())
    assert sorted(kept.kept) == [2]
    assert kept.kept[2]["editor/steps"].tolist() == [2] * 4, "as it was before the look-ahead"
    job, editor = job_of()
    assert torch.equal(edit(PROGRESSIVE, SOFT, job, kept).latents, whole)
    assert editor.kept["steps"].tolist() == [STEPS] * 4
    assert editor.restored[0] == []


def test_packed_and_unpacked() -> None:
    (layer,) = chosen = layers(10)
    maps, eye = torch.rand(2, 4, 3), torch.eye(3)
    target = TargetQueries({layer: maps}, {layer: 0.1}, {layer: -0.3}, {layer: eye})
    record = IntervalRecord(3, {layer.path: -0.3}, maps, maps, maps)
    state, field = {"a/b": torch.rand(2), "sum": torch.rand(2, 4)}, {"grid": torch.rand(5)}
    found = unpack(pack(FinishedInterval(maps, target, record, field, state)), chosen)
    assert found.editor.keys() == state.keys()
    assert all(torch.equal(found.editor[key], state[key]) for key in state)
    assert found.field.keys() == field.keys()
    assert (found.target.scale, found.target.r2, found.record.step) == ({layer: 0.1}, {layer: -0.3}, 3)
    assert torch.equal(found.target.components[layer], eye)
