"""Collaborative score distillation against sums that are written out, and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qnerf.consolidation.job import EditJob
from qnerf.consolidation.one_view import one_view
from qnerf.editors.plain import PlainEditorSettings
from qnerf.errors import UserError
from qnerf.guidance.off import OffSettings
from qnerf.schedules.csd import KEPT_EVERY, Csd, CsdSettings, shared
from tests.editors.helpers import job_of
from tests.schedules.helpers import edit

OFF = OffSettings(name="off")
PLAIN = PlainEditorSettings(name="plain", keep_background=False, guidance_scale=2.0)


def schedule(**changes: Any) -> CsdSettings:
    return CsdSettings.model_validate({"name": "csd", "iterations": 2, "noisiest": 900, "cleanest": 100, **changes})


def test_the_kernel_shares_as_stein_says() -> None:
    x, scores = torch.randn(2, 5, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squared = [[float(((a - b) ** 2).sum()) for b in x] for a in x]
    gamma = math.log(6) / np.median(squared)
    wanted = torch.zeros_like(x)
    for i in range(5):
        for j in range(5):
            weight = math.exp(-gamma * squared[i][j])
            wanted[i] += (weight * scores[j] - 2 * gamma * weight * (x[i] - x[j])) / 5
    torch.testing.assert_close(shared(x, scores, 1.0), wanted, rtol=0, atol=1e-12)


def test_a_kernel_without_width_is_independent_distillation() -> None:
    x, scores = torch.randn(2, 5, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(shared(x, scores, 1e-6), scores / 5, rtol=0, atol=1e-12)


def distilled(job: EditJob, settings: CsdSettings) -> Tensor:
    """Score distillation of one view (delta denoising: the source's score is subtracted), with the draws of the schedule."""
    clean, states = job.trajectory.states[-1], Csd(settings).states(job)
    branch, source = job.branch(slice(0, 1)), job.source(slice(0, 1))
    for iteration in range(settings.iterations):
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([job.seed, iteration]).generate_state(1)[0]))
        k = states[int(torch.randint(len(states), (), generator=generator))]
        noise = torch.randn(clean.shape, generator=generator, dtype=clean.dtype)
        signal, sigma = job.steps.signal[k], job.steps.sigma[k]
        with torch.no_grad():
            target = branch.noise(signal * clean + sigma * noise, k)
            before = source.noise(signal * job.trajectory.states[-1] + sigma * noise, k, source.null_text)
        clean = clean - settings.rate * sigma**2 * (target - before)
    return clean


def test_one_view_is_score_distillation() -> None:
    job = one_view(job_of(PLAIN), 1)
    found = edit(schedule(), OFF, job).latents
    torch.testing.assert_close(found, distilled(job, schedule()), rtol=0, atol=1e-6)
    assert (found - job.trajectory.states[-1]).abs().max() > 1e-2, "else the test would see nothing"


class Kept:
    """What a store keeps, by the state at which an interval ends."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, Tensor]] = {}
        self.computed: list[int] = []

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        if stop not in self.found:
            self.computed.append(stop)
            self.found[stop] = compute()
        return self.found[stop]


def test_a_broken_edit_goes_on_where_it_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnerf.schedules.csd.KEPT_EVERY", 1)
    job, kept = job_of(PLAIN), Kept()
    settings = schedule(iterations=3)
    whole = edit(settings, OFF, job).latents
    first = edit(settings, OFF, job, kept).latents
    again = edit(settings, OFF, job, kept).latents
    assert kept.computed == [1, 2] == settings.kept_intervals(OFF, 4)
    assert torch.equal(first, whole)
    assert torch.equal(again, whole)
    assert KEPT_EVERY == 50


def test_views_and_seeds_matter_and_chunks_do_not() -> None:
    whole, single = (edit(schedule(), OFF, job_of(PLAIN, chunk_size=size)).latents for size in (2, 1))
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-5)
    alone = edit(schedule(kernel=1e-9), OFF, job_of(PLAIN)).latents
    other = edit(schedule(), OFF, replace(job_of(PLAIN), seed=1)).latents
    assert (alone - whole).abs().max() > 1e-3
    assert (other - whole).abs().max() > 1e-3


def test_what_cannot_be_drawn_is_told() -> None:
    assert "schedule.cleanest: got 900" in str(schedule(cleanest=900).problem(OFF, 30, ""))
    with pytest.raises(UserError, match=r"schedule\.noisiest: none of the 4 steps"):
        edit(schedule(noisiest=100, cleanest=50), OFF, job_of(PLAIN))
