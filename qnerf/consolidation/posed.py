"""Guidance shared between the queries of the posed views and consolidated ones (docs/method.md §7)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.consolidation.job import EditJob
from qnerf.consolidation.phases import gather
from qnerf.consolidation.targets import TargetQueries, region_tokens
from qnerf.devices import send


def shared(
    posed: TargetQueries, trust: Tensor, rendered: TargetQueries | None, size: tuple[int, int], where: Tensor | None = None
) -> TargetQueries:
    """One target of two: each token is guided by the posed views' queries as far as these are trusted, and for the rest by the
    rendered ones, where there are any.

    trust: (N, H, W), 0 to 1. A token's is the mean over its patch. size: the latents', (h, w). where: (N, 1, h, w), 0 or 1, where
    the posed views' queries guide; None: where the guidance says so.
    """
    weights = {
        layer: F.adaptive_avg_pool2d(trust[:, None], layer.token_grid(size)).flatten(1)[..., None].to(maps)
        for layer, maps in posed.maps.items()
    }
    beside = rendered and replace(rendered, weights={layer: 1 - w.to(rendered.maps[layer]) for layer, w in weights.items()})
    if where is not None:
        weights = {layer: w * region_tokens(where.to(w), layer) for layer, w in weights.items()}
    return replace(posed, weights=weights, beside=beside, regional=where is None)


@torch.no_grad()
def distance_from_posed(job: EditJob, z: Tensor, k: int) -> Tensor:
    """How far what the model makes of latents z (N, 4, h, w) at state k by itself is from the posed views, (N,): the mean squared
    difference of the clean latents, weighted by trust times the opacity of moved parts. 0 where a view shows none."""
    posed, editor, found = job.needed_posed(), job.editor_state(), []
    clean = posed.inverted()[0].states[-1]
    gather(job, z, k)
    for views in job.chunks():
        part, branch = send(z[views], job.device), job.branch(views)
        found.append(job.steps.clean(part, branch.noise(part, k), k).to(clean.device))
        job.on_work("unet", len(part))
    job.restore_editor(editor)
    grid = (clean.shape[-2], clean.shape[-1])
    trust, moved = (F.interpolate(x[:, None], size=posed.moved.shape[-2:]) for x in (posed.trust, posed.moved))
    weight = F.adaptive_avg_pool2d(trust * moved, grid)[:, 0]
    squared = (torch.cat(found) - clean).square().mean(1)
    return (squared * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-6)
