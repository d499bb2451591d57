"""Joint editors: chunks change nothing, and all views together are one batch whose views attend to each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.attention.hooks import AttentionCall, AttentionEdit, Edits
from qnerf.consolidation.feedback import implied_clean
from qnerf.consolidation.job import EditJob
from qnerf.editors.plain import PlainEditorSettings
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.off import OffSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.editors.examples import Extended, ExtendedSettings
from tests.schedules.helpers import edit, make_job

OFF, SOFT = OffSettings(name="off"), SoftSettings(name="soft", step_size=0.05, weights="equal")
INDEPENDENT = IndependentSettings(name="independent")
PROGRESSIVE = ProgressiveSettings(name="progressive", interval=1)
SCALES = {"guidance_scale": 2.0, "control_guidance": 1.5}  # three predictions a step


def job_of(chunk_size: int, **settings: Any) -> EditJob:
    return make_job(steps=3, chunk_size=chunk_size, editor=ExtendedSettings.model_validate(settings))[0]


class TogetherInABatch(AttentionEdit):
    """Slow and obvious: each row's keys are those of all rows of its part of the batch."""

    def before(self, call: AttentionCall) -> AttentionCall:
        k, v = torch.empty(0), torch.empty(0)
        for rows in call.batch.rows.values():
            for _ in range(rows.start, rows.stop):
                k, v = (torch.cat([a, torch.cat(list(b[rows]), dim=1)[None]]) for a, b in ((k, call.k), (v, call.v)))
        return replace(call, k=k, v=v)


def in_one_batch(job: EditJob) -> Tensor:
    """The independent edit with all views in one batch, attending to each other."""
    layers = [job.backbone.layers[i] for i in job.editor.settings.at]  # pyright: ignore[reportAttributeAccessIssue]
    plain = PlainEditorSettings(name="plain", keep_background=False, control_guidance=job.editor.settings.control_guidance)
    branch, z = replace(job, editor=plain.build()).branch(slice(0, job.views)), job.trajectory.states[0]
    with torch.no_grad():
        for k in range(len(job.steps)):
            z = branch.step(z, branch.noise(z, k, Edits.at(layers, TogetherInABatch())), k)
    return z


@pytest.mark.parametrize(("chunk_size", "scales"), [(1, {}), (2, {}), (4, {}), (3, SCALES)])
def test_views_of_any_chunks_attend_to_each_other_as_in_one_batch(chunk_size: int, scales: dict[str, float]) -> None:
    job = job_of(chunk_size, **scales)
    found, wanted = edit(INDEPENDENT, OFF, job).latents, in_one_batch(job)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    alone = edit(INDEPENDENT, OFF, job_of(4, group=1, **scales)).latents
    assert (found - alone).abs().max() > 1e-3, "else the test would see nothing"


def test_a_group_is_edited_as_if_it_were_all_there_is() -> None:
    """Groups of 2 in chunks of 1, 3 and 4: the same, which is not that of one group."""
    one, three, four = (edit(INDEPENDENT, OFF, job_of(size, group=2)).latents for size in (1, 3, 4))
    torch.testing.assert_close(one, four, rtol=0, atol=1e-4)
    torch.testing.assert_close(three, four, rtol=0, atol=1e-4)
    assert (four - edit(INDEPENDENT, OFF, job_of(4)).latents).abs().max() > 1e-3
    plain = edit(INDEPENDENT, OFF, make_job(steps=3, editor=PlainEditorSettings(name="plain", keep_background=False))[0])
    torch.testing.assert_close(edit(INDEPENDENT, OFF, job_of(3, group=1)).latents, plain.latents, rtol=0, atol=1e-4)


@pytest.mark.parametrize("schedule", [PROGRESSIVE, OneShotSettings(name="one_shot", interval=1)])
@pytest.mark.parametrize("guidance", [SOFT, HardSettings(name="hard")])
def test_chunks_change_no_guided_joint_edit(schedule: Any, guidance: Any) -> None:
    three, four = (edit(schedule, guidance, job_of(size)).latents for size in (3, 4))
    torch.testing.assert_close(three, four, rtol=0, atol=5e-4)
    assert (four - edit(INDEPENDENT, OFF, job_of(4)).latents).abs().max() > 1e-3


def test_latents_that_guidance_has_pulled_are_looked_at_anew() -> None:
    """By soft guidance twice at each guided step: before the pull and before the step. Hard guidance pulls nothing."""
    for guidance, guided in ((SOFT, [1, 1, 1, 2, 2, 2]), (HardSettings(name="hard"), [1, 1, 2, 2])):
        job = job_of(2)
        edit(PROGRESSIVE, guidance, job)
        assert isinstance(job.editor, Extended)
        assert job.editor.rounds == [0, *guided], "of steps 1 and 2 a look-ahead, then the guided visit"


def test_the_step_back_looks_at_all_views_first() -> None:
    job = job_of(1)
    z = job.trajectory.states[2]
    torch.testing.assert_close(implied_clean(job, z, 2), implied_clean(job_of(4), z, 2), rtol=0, atol=1e-4)
    assert isinstance(job.editor, Extended)
    assert job.editor.rounds == [2]
    schedule = PROGRESSIVE.model_copy(update={"feedback": FeedbackSettings(at=0.67, weight=0.5)})
    one, four = (edit(schedule, HardSettings(name="hard"), job_of(size)).latents for size in (1, 4))
    torch.testing.assert_close(one, four, rtol=0, atol=2e-3)
