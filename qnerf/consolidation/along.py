"""The queries that the model has along another trajectory than the edit's: that of views which show, or nearly show, the edit."""

from __future__ import annotations

import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.consolidation.job import EditJob
from qnerf.consolidation.targets import TargetQueries
from qnerf.denoising.ddim import Trajectory


@torch.no_grad()
def queries_along(job: EditJob, trajectory: Trajectory, layers: tuple[AttentionLayer, ...], k: int) -> TargetQueries:
    """Queries of all views at step k along the inversion of other pictures of them, under the target's prompt and control."""
    parts: list[dict[AttentionLayer, Tensor]] = []
    for views in job.chunks():
        record, count = RecordQueries(), views.stop - views.start
        with job.backbone.bound(Edits.at(layers, record), Batch.of(k, [CONDITIONAL], count)):
            conditioning = job.target.views(views).at(k, len(job.steps))
            job.backbone.predict(trajectory.states[k, views].to(job.device), job.steps.timesteps[k], conditioning)
        parts.append({layer: queries.to(trajectory.states.device) for layer, queries in record.queries.items()})
        job.on_work("unet", count)
    maps = {layer: torch.cat([part[layer] for part in parts]) for layer in layers}
    whole = {layer: torch.eye(q.shape[-1], device=q.device) for layer, q in maps.items()}
    return TargetQueries(maps, {layer: float(q.std()) for layer, q in maps.items()}, dict.fromkeys(layers, 1.0), whole)
