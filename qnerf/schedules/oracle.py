"""The oracle: the queries of the true edited views, what better queries could give (METHOD §6)."""

from __future__ import annotations

import torch

from qnerf.attention.edits import CaptureQueries, attention_edits
from qnerf.attention.layers import AttentionLayer
from qnerf.guidance.guides import TargetQueries
from qnerf.inversions.ddim import Trajectory
from qnerf.schedules.job import EditJob


@torch.no_grad()
def oracle_queries(job: EditJob, oracle: Trajectory, layers: tuple[AttentionLayer, ...], k: int) -> TargetQueries:
    """Queries of all views at step k along the inversion of the true edited views, under the target prompt and control."""
    parts: list[dict[AttentionLayer, torch.Tensor]] = []
    for views in job.chunks():
        capture = CaptureQueries(slice(None))
        with attention_edits(job.backbone.unet, {layer: [capture] for layer in layers}):
            job.backbone.predict(
                oracle.states[k, views].to(job.device),
                job.steps.timesteps[k],
                job.text_target[views],
                job.control_target[views],
                job.control_scale,
            )
        parts.append({layer: queries.to(oracle.states.device) for layer, queries in capture.queries.items()})
        job.on_work("unet", views.stop - views.start)
    maps = {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
    whole = {layer: torch.eye(q.shape[-1], device=q.device) for layer, q in maps.items()}
    return TargetQueries(maps, {layer: float(q.std()) for layer, q in maps.items()}, dict.fromkeys(layers, 1.0), whole)
