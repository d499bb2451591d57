"""The stretches of denoising that all schedules are made of, over all views, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.consolidation.consolidate import Queries
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.targets import TargetQueries
from qnerf.denoising.edit import EditBranch
from qnerf.devices import arrive, empty_at, send

if TYPE_CHECKING:
    from qnerf.guidance.guidance import Guidance

Step = Callable[[Tensor, int], Tensor]
"""From the latents of some views at state k, and k, to state k + 1."""


def plain_steps(
    job: EditJob, z: Tensor, start: int, stop: int, capture_at: tuple[int, ...] = (), layers: tuple[AttentionLayer, ...] = ()
) -> tuple[Tensor, dict[int, Queries]]:
    """Unguided steps from state `start` to `stop` for all views: latents (N, 4, h, w), and the queries
    of the steps in `capture_at`, (N, tokens, channels) per layer, both where z lies. A step's queries
    are those of the forward pass that takes it."""
    captured = {k: Queries() for k in capture_at}

    def begin(branch: EditBranch) -> Step:
        @torch.no_grad()
        def step(part: Tensor, k: int) -> Tensor:
            record = RecordQueries()
            noise = branch.noise(part, k, Edits.at(layers, record) if k in capture_at else None)
            if k in capture_at:
                _keep(captured[k], record.queries, branch.views, z)
            job.on_work("unet", len(part))
            return branch.step(part, noise, k)

        return step

    return walk(job, z, start, stop, begin), captured


def guided_steps(
    job: EditJob,
    guidance: Guidance,
    z: Tensor,
    start: int,
    stop: int,
    target: TargetQueries | None,
) -> Tensor:
    """Guided steps from state `start` to `stop` for all views, by one target. The latents are where z
    lies."""

    def begin(branch: EditBranch) -> Step:
        wanted = target and target.views(branch.views).to(job.device)

        def step(part: Tensor, k: int) -> Tensor:
            job.on_work("unet", len(part) * (1 if target is None else guidance.settings.step_passes(k, len(job.steps))))
            return guidance.step(branch, part, k, wanted)

        return step

    return walk(job, z, start, stop, begin)


def walk(job: EditJob, z: Tensor, start: int, stop: int, begin: Callable[[EditBranch], Step]) -> Tensor:
    """All views from state `start` to `stop`. begin: what takes the steps of a chunk of views.

    Each chunk walks all steps before the next one does, so that one chunk's source and targets are on
    the device. A joint editor needs all views at every step, so there all chunks take a step before any
    takes the next.
    """
    if not job.editor.joint:
        latents = empty_at(z.device, z, len(z), job.device)
        for views in job.chunks():
            step, part = begin(job.branch(views)), send(z[views], job.device)
            for k in range(start, stop):
                part = step(part, k)
            latents[views].copy_(part, non_blocking=True)
        arrive(job.device)
        return latents
    for k in range(start, stop):
        now = z
        job.editor.gather(k, now, lambda now=now: [(job.branch(v), send(now[v], job.device)) for v in job.chunks()])
        z = torch.cat([begin(job.branch(v))(send(now[v], job.device), k).to(z.device) for v in job.chunks()])
    arrive(job.device)
    return z


def _keep(kept: Queries, found: Queries, views: slice, z: Tensor) -> None:
    """Writes the queries of some views into those of all of z's, which lie where z does: never are they
    in memory twice. They have arrived when `walk` returns."""
    for layer, queries in found.items():
        if layer not in kept:
            kept[layer] = empty_at(z.device, queries, len(z), queries.device)
        kept[layer][views].copy_(queries, non_blocking=True)
