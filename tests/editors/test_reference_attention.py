"""Attention to reference views against maps that are written out, in float64, for all views in one batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.consolidation.job import EditJob
from qnerf.editors.plain import PlainEditorSettings
from qnerf.editors.reference_attention import ReferenceAttentionSettings, reference_views
from tests.editors.helpers import STEPS, VIEWS, double, job_of, latents, noise, null_of
from tests.schedules.helpers import make_job


def settings(**changes: Any) -> ReferenceAttentionSettings:
    return ReferenceAttentionSettings.model_validate({"name": "reference_attention", "keep_background": False, **changes})


def literal(job: EditJob, chosen: list[int], own: float, scale: float) -> Tensor:
    """DDIM under maps that hold each view's own attention beside that to every reference."""
    self_attention = {layer.path for layer in double().layers}

    def change(path: str, p: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if path not in self_attention:
            return p, v
        maps, values = [own * p], [v]
        for view in chosen:
            there = k[[view]].expand_as(k)
            maps.append((1 - own) / len(chosen) * (q @ there.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1))
            values.append(v[[view]].expand_as(v))
        return torch.cat(maps, dim=-1), torch.cat(values, dim=-2)

    z = job.trajectory.states[0]
    for k in range(STEPS):
        conditional = noise(job, z, k, job.target.text, change=change)
        null = noise(job, z, k, null_of(job), change=change)
        eps = null + scale * (conditional - null)
        clean = (z - job.steps.sigma[k] * eps) / job.steps.signal[k]
        z = job.steps.signal[k + 1] * clean + job.steps.sigma[k + 1] * eps
    return z


@pytest.mark.parametrize(("count", "chunk_size"), [(1, 1), (2, 2)])
def test_it_is_the_mean_of_the_attentions_to_the_references(count: int, chunk_size: int) -> None:
    editor = settings(references=count, guidance_scale=3.0)
    found = latents(job_of(editor, chunk_size))
    chosen = reference_views(VIEWS, count)
    torch.testing.assert_close(found, literal(job_of(editor), chosen, 0.6, 3.0), rtol=0, atol=2e-6)
    plain = latents(job_of(PlainEditorSettings(name="plain", keep_background=False, guidance_scale=3.0)))
    assert (found - plain).abs().max() > 1e-3, "else the test would see nothing"


@pytest.mark.parametrize("changes", [{"references": 0}, {"own": 1.0}])
def test_without_references_it_is_the_plain_editor(changes: dict[str, Any]) -> None:
    plain = PlainEditorSettings(name="plain", keep_background=False)
    torch.testing.assert_close(latents(job_of(settings(**changes))), latents(job_of(plain)), rtol=0, atol=1e-9)


def test_references_are_spread_over_the_views() -> None:
    assert reference_views(12, 4) == [1, 4, 7, 10]
    assert reference_views(3, 4) == [0, 1, 2]
    assert reference_views(5, 0) == []


def test_chunks_that_part_the_references_change_nothing() -> None:
    found = []
    for size in (1, 3, 4):
        job, _ = make_job(steps=2, chunk_size=size, editor=settings(references=3))
        found.append(latents(replace(job)))
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=1e-4)
    torch.testing.assert_close(found[1], found[2], rtol=0, atol=1e-4)
