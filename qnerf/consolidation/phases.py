"""The phases of denoising that all schedules consist of, over all views, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.common.finite import require_finite
from qnerf.consolidation.consolidate import Queries
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.targets import TargetQueries
from qnerf.denoising.edit import EditBranch, unseen
from qnerf.devices import arrive, empty_at, send

if TYPE_CHECKING:
    from qnerf.guidance.guidance import Guidance

Part = Callable[[Tensor, int], Tensor]
"""What is done with the latents of some views (V, 4, h, w) at step k: the last part of a step gives state k + 1, others state k."""


def plain_steps(
    job: EditJob, z: Tensor, start: int, stop: int, record_at: tuple[int, ...] = (), layers: tuple[AttentionLayer, ...] = ()
) -> tuple[Tensor, dict[int, Queries]]:
    """Unguided steps from state `start` to `stop` for all views: latents (N, 4, h, w), and the queries
    of the steps in `record_at`, (N, tokens, channels) per layer, both where z lies. A step's queries
    are those of the forward pass that takes it."""
    recorded, first = {k: Queries() for k in record_at}, job.editor.first_step(len(job.steps))
    job = replace(job, on_clean=unseen) if record_at else job  # a look-ahead: its steps are taken again

    def begin(branch: EditBranch) -> tuple[Part, ...]:
        @torch.no_grad()
        def step(part: Tensor, k: int) -> Tensor:
            job.on_work("unet", len(part))
            if k < first and k not in record_at:
                return part
            record = RecordQueries()
            noise = branch.noise(part, k, Edits.at(layers, record) if k in record_at else None)
            if k in record_at:
                _keep(recorded[k], record.queries, branch.views, z)
            return branch.step(part, noise, k)

        return (branch_pull(branch), step) if job.editor.pulls else (step,)

    z = walk(job, z, start, stop, "unguided", begin)
    for k, layer, queries in ((k, layer, queries) for k, found in recorded.items() for layer, queries in found.items()):
        require_finite(queries, f"step {k} of the edit: queries of {layer.path}", job.names, job.method, job.backbone.dtype)
    return z, recorded


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
    first = job.editor.first_step(len(job.steps))

    def begin(branch: EditBranch) -> tuple[Part, ...]:
        wanted = target and target.views(branch.views).to(job.device)

        def pull(part: Tensor, k: int) -> Tensor:
            return part if k < first else guidance.pull(branch, part, k, wanted)

        def step(part: Tensor, k: int) -> Tensor:
            job.on_work("unet", len(part) * (1 if target is None else guidance.settings.step_passes(k, len(job.steps))))
            return part if k < first else guidance.step(branch, part, k, wanted)

        pulls = (pull,) if guidance.pulls and target is not None else ()
        return (*pulls, *((branch_pull(branch),) if job.editor.pulls else ()), step)

    return walk(job, z, start, stop, "unguided" if target is None else "guided", begin)


def branch_pull(branch: EditBranch) -> Part:
    """The part of a step in which the editor moves the latents."""

    @torch.no_grad()
    def pull(part: Tensor, k: int) -> Tensor:
        return branch.editor.pull(branch, part, k)

    return pull


def walk(job: EditJob, z: Tensor, start: int, stop: int, kind: str, begin: Callable[[EditBranch], tuple[Part, ...]]) -> Tensor:
    """All views from state `start` to `stop`. begin: what is done in turn at each step of a chunk of views, as many parts for each
    chunk. Raises UserError, naming the `kind` of step, where latents are not finite.

    Each chunk walks all steps before the next one does, so that one chunk's source and targets are on
    the device. A joint editor needs all views at every step, so there all chunks take a part of a step before any
    takes the next, and the editor gathers before each.
    """
    watch = job.watch(kind)
    if job.editor.joint:
        for k in range(start, stop):
            z = _joint_step(job, z, k, begin)
            watch.see(send(z, job.device), k)
        arrive(job.device)
        watch.check()
        return z
    latents = empty_at(z.device, z, len(z), job.device)
    for views in job.chunks():
        parts, now = begin(job.branch(views)), send(z[views], job.device)
        for k in range(start, stop):
            for part in parts:
                now = part(now, k)
            watch.see(now, k, views)
        latents[views].copy_(now, non_blocking=True)
        watch.check()
    arrive(job.device)
    return latents


def _joint_step(job: EditJob, z: Tensor, k: int, begin: Callable[[EditBranch], tuple[Part, ...]]) -> Tensor:
    """State k + 1 of all views, part by part. A chunk's parts are made anew each time: one chunk's is on the device at a time."""
    number, count = 0, 1
    while number < count:
        gather(job, z, k)
        now = []
        for views in job.chunks():
            parts = begin(job.branch(views))
            now.append(parts[number](send(z[views], job.device), k).to(z.device))
            count = len(parts)
        z, number = torch.cat(now), number + 1
    return z


def gather(job: EditJob, z: Tensor, k: int) -> None:
    """Has a joint editor look at all views z (N, 4, h, w) at state k, before any pass of step k; others need not look."""

    def branches() -> Iterator[tuple[EditBranch, Tensor]]:
        return ((job.branch(views), send(z[views], job.device)) for views in job.chunks())

    if job.editor.joint:
        with torch.no_grad():
            job.editor.gather(k, z, branches)


def _keep(kept: Queries, found: Queries, views: slice, z: Tensor) -> None:
    """Writes the queries of some views into those of all of z's, which lie where z does: never are they
    in memory twice. They have arrived when `walk` returns."""
    for layer, queries in found.items():
        if layer not in kept:
            kept[layer] = empty_at(z.device, queries, len(z), queries.device)
        kept[layer][views].copy_(queries, non_blocking=True)
