"""A view carried into the others: by the truth it gives the true views, and the schedule is made of known parts."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.consolidation.anchored import anchor_of
from qnerf.consolidation.carried import carry
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.one_view import one_view
from qnerf.consolidation.phases import plain_steps
from qnerf.denoising.noised import noised_states
from qnerf.editors.plain import PlainEditorSettings
from qnerf.errors import UserError
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.off import OffSettings
from qnerf.metrics.warp import warp_error
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import EditedRegion
from qnerf.schedules.anchor_warp import AnchorWarpSettings
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.schedules.helpers import edit, make_job

OFF, MIXED = OffSettings(name="off"), MixedSettings(name="mixed")
PLAIN = PlainEditorSettings(name="plain", keep_background=False)


def schedule(**changes: Any) -> AnchorWarpSettings:
    return AnchorWarpSettings.model_validate({"name": "anchor_warp", "anchor": 1, "refined": 0.5, **changes})


@cache
def depth() -> Tensor:
    """What the views of the job see."""
    truth = build_scene(0, views=4, size=32).truth
    assert truth is not None
    return torch.where(truth.depth_edited > 0, truth.depth_edited, torch.inf)


def job_of(chunk_size: int = 4, **changes: Any) -> EditJob:
    job, _ = make_job(steps=4, chunk_size=chunk_size, editor=PLAIN, **changes)
    return replace(job, target_depth=depth())


def test_the_truths_anchor_under_the_truths_depth_gives_the_true_views_where_they_are_seen() -> None:
    scene = build_scene(1, views=12, size=64)
    truth = scene.truth
    assert truth is not None
    surface = torch.where(truth.silhouette_edited, truth.depth_edited, torch.inf)
    images = truth.edited_images
    floor = warp_error(images, truth.depth_edited, truth.silhouette_edited, truth.silhouette_edited, scene.cameras, 0.02)
    for anchor in (0, 5):
        pictures, where = carry(images[anchor], surface, scene.cameras, anchor, 0.02)
        torch.testing.assert_close(pictures[anchor] * where[anchor], images[anchor] * where[anchor], rtol=0, atol=1e-3)
        near = [(anchor - 1) % 12, (anchor + 1) % 12]
        error = ((pictures - images).abs().mean(dim=1, keepdim=True) * where)[near].sum() / where[near].sum()
        assert where[near].sum() > 0.2 * truth.silhouette_edited[near].sum()
        assert error < 1.5 * floor
        assert not (where.squeeze(1) > 0)[~truth.silhouette_edited].any()


def test_it_is_an_edit_of_one_view_carried_encoded_noised_and_denoised() -> None:
    job = job_of()
    found = edit(schedule(), OFF, job).latents
    every, steps = slice(0, job.views), len(job.steps)
    anchor = plain_steps(job, job.trajectory.states[0], 0, steps)[0][[1]]  # plain editors edit each view by itself
    picture, source = job.backbone.decode(anchor)[0], job.backbone.decode(job.trajectory.states[-1])
    assert job.target_depth is not None
    pictures, where = carry(picture, job.target_depth, job.cameras, 1, 0.03)
    assert 0 < where[0].sum() < where[0].numel()
    clean = job.backbone.encode(torch.where(where > 0, pictures, source))
    z, branch = noised_states(clean, job.steps, job.seed, 0)[2], job.branch(every)
    with torch.no_grad():
        for k in (2, 3):
            z = branch.step(z, branch.noise(z, k), k)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-4)


def test_chunks_change_nothing_and_seeds_do() -> None:
    short = schedule(refined=0.25)
    whole, single = (edit(short, OFF, job_of(size)).latents for size in (4, 1))
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-4)
    assert (edit(short, OFF, replace(job_of(), seed=1)).latents - whole).abs().max() > 1e-2


def test_one_view_alone_is_the_view_among_all() -> None:
    job, _ = make_job(steps=2)  # MasaCtrl reads the source of its own view
    among = plain_steps(job, job.trajectory.states[0], 0, 2)[0]
    alone = one_view(job, 2)
    torch.testing.assert_close(plain_steps(alone, alone.trajectory.states[0], 0, 2)[0], among[[2]], rtol=0, atol=1e-4)


def test_the_anchor_is_the_view_in_which_most_may_move() -> None:
    moved = torch.zeros(4, 8, 8)
    moved[2, :3], moved[1, :2] = 1, 1
    job = job_of(region=EditedRegion(torch.ones(4, 8, 8), moved))
    assert anchor_of(job, None) == 2
    with pytest.raises(UserError, match=r"schedule\.anchor: got 9, but there are 4 views"):
        anchor_of(job, 9)
    with pytest.raises(UserError, match=r"no proxy\.json"):
        edit(schedule(), OFF, replace(job, target_depth=None))


def test_a_start_is_the_state_of_the_schedule_of_this_name() -> None:
    """So the independent edit from there is that schedule, bit by bit; others have the same first state and the passes it costs."""
    job = job_of()
    start = {"start": "anchor_warp", "start_at": 0.5}
    own = schedule(anchor=None)
    independent = IndependentSettings.model_validate({"name": "independent", **start})
    assert torch.equal(edit(independent, OFF, job).latents, edit(own, OFF, job).latents)
    assert independent.work(OFF, 4, 4) == own.work(OFF, 4, 4) == {"unet": 4 + 2 * 4}
    z = job.first_latents("anchor_warp", 2)
    assert torch.equal(plain_steps(job, z, 2, 4)[0], edit(own, OFF, job).latents)
    assert (z - job.first_latents("source", 2)).abs().max() > 1e-2
    assert independent.draws
    assert independent.reads_bounds
    with pytest.raises(UserError, match=r"schedule\.start=anchor_warp: the scene has no proxy\.json"):
        edit(independent, OFF, replace(job, target_depth=None))


def test_a_consolidation_starts_there_and_counts_the_work() -> None:
    job, work = make_job(steps=4, editor=PLAIN)
    job = replace(job, target_depth=depth())
    settings = ProgressiveSettings.model_validate({"name": "progressive", "interval": 1, "start": "anchor_warp", "start_at": 0.5})
    found = edit(settings, MIXED, job)
    assert work["unet"] == settings.work(MIXED, 4, 4)["unet"]
    assert not settings.unguided(1)
    plain = edit(settings.model_copy(update={"start": "source", "skip": 0.5}), MIXED, job)
    assert (found.latents - plain.latents).abs().max() > 1e-2
