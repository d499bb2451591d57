"""The stretches of denoising that all schedules are made of, over all views, chunk by chunk."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.attention.edits import CaptureQueries
from qnerf.attention.layers import AttentionLayer
from qnerf.guidance.guides import TargetQueries, guided_noise_at
from qnerf.guidance.settings import GuidanceSettings
from qnerf.inversions.ddim import ddim_step
from qnerf.schedules.consolidate import Queries
from qnerf.schedules.job import EditJob
from qnerf.schedules.work import step_cost


def plain_steps(
    job: EditJob, z: Tensor, start: int, stop: int, capture_at: tuple[int, ...] = (), layers: tuple[AttentionLayer, ...] = ()
) -> tuple[Tensor, dict[int, Queries]]:
    """Unguided steps from state `start` to `stop` for all views: latents (N, 4, h, w), and the queries of the steps in
    `capture_at`, (N, tokens, channels) per layer, both where z lies. A step's queries are those of the forward pass that takes
    it."""
    latents, captured = [], {k: Queries() for k in capture_at}
    for views in job.chunks():
        branch, part = job.branch(views), z[views].to(job.device)
        for k in range(start, stop):
            capture = CaptureQueries(branch.conditional_part)
            with torch.no_grad():
                noise = branch.noise(part, k, {layer: [capture] for layer in layers} if k in capture_at else None)
            part = branch.keep_background(ddim_step(part, noise, job.steps.alpha_bar[k], job.steps.alpha_bar[k + 1]), k + 1)
            if k in capture_at:
                _keep(captured[k], capture.queries, views, z)
            job.on_work("unet", len(part))
        latents.append(part.to(z.device))
    return torch.cat(latents), captured


def guided_steps(
    job: EditJob,
    guidance: GuidanceSettings,
    z: Tensor,
    start: int,
    stop: int,
    target: TargetQueries | None,
) -> Tensor:
    """Guided steps from state `start` to `stop` for all views, by one target. The latents are where z lies."""
    latents = []
    for views in job.chunks():
        branch, part = job.branch(views), z[views].to(job.device)
        wanted = target and target.views(views).to(job.device)
        for k in range(start, stop):
            part, noise = guided_noise_at(guidance, branch, part, k, wanted)
            part = branch.keep_background(ddim_step(part, noise, job.steps.alpha_bar[k], job.steps.alpha_bar[k + 1]), k + 1)
            job.on_work("unet", len(part) * (1 if target is None else step_cost(guidance, k, len(job.steps))))
        latents.append(part.to(z.device))
    return torch.cat(latents)


def _keep(kept: Queries, found: Queries, views: slice, z: Tensor) -> None:
    """Writes the queries of some views into those of all of z's, which lie where z does: never are they in memory twice."""
    for layer, queries in found.items():
        if layer not in kept:
            kept[layer] = queries.new_empty(len(z), *queries.shape[1:], device=z.device)
        kept[layer][views] = queries.to(z.device)
