"""From recorded queries to rendered ones: train a field, render it from every view, and measure its R²."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.common.finite import require_finite
from qnerf.consolidation.job import EditJob, layer_grid
from qnerf.consolidation.targets import TargetQueries, region_tokens
from qnerf.fields.explained import explained_variance
from qnerf.fields.query_field import QueryField, RenderedQueries
from qnerf.fields.train_query_field import split_views, train_query_field

Queries = dict[AttentionLayer, Tensor]  # (views, tokens, channels), float32


@dataclass(frozen=True)
class IntervalRecord:
    """What is worth showing of one field.

    step: whose queries it was trained on. r2: R² by layer path. recorded, rendered: the finest
    layer's queries before and after, (V, rows, columns, C). depth: expected depth there, (V, rows,
    columns), world units.
    """

    step: int
    r2: dict[str, float]
    recorded: Tensor
    rendered: Tensor
    depth: Tensor


def train_field(
    job: EditJob, queries: dict[str, Queries], key: str, warm_start: QueryField | None = None, share: float = 1.0
) -> QueryField:
    """One field for one set of queries, or for several sets, each under a label of its own and with its
    own heads.

    key: names the field's seed. share: of the iterations that the job's settings say. A warm start
    needs equal labels.
    """
    iterations = max(round(share * job.field.optimiser.iterations), 1)
    optimiser = job.field.optimiser.model_copy(update={"iterations": iterations})
    maps = {name(label, layer): _grid(job, layer, q) for label, part in queries.items() for layer, q in part.items()}
    return train_query_field(
        maps,
        job.cameras,
        job.space,
        job.field.model_copy(update={"optimiser": optimiser}),
        seed=derive_seed(job.seed, key),
        warm_start=warm_start,
        target_depth=job.target_depth,
        on_step=lambda step, total, loss: job.trained("field", share / total, loss),
    )


def consolidate(
    job: EditJob, field: QueryField, queries: dict[str, Queries], steps: dict[str, int]
) -> tuple[dict[str, TargetQueries], list[IntervalRecord]]:
    """What the field says of each labelled set of queries, from every view, and the record of it, where
    the queries lie.

    steps: the denoising step at which each set was recorded.
    """
    with torch.no_grad():
        rendered = field.render_to(job.cameras, next(iter(next(iter(queries.values())).values())).device)
    for label, part in queries.items():
        for layer in part:
            what = f"the field of step {steps[label]}: rendered queries of {layer.path}"
            require_finite(rendered.maps[name(label, layer)], what, job.names, job.method)
    targets = {label: _target(job, rendered, label, part) for label, part in queries.items()}
    depth = {label: rendered.depth[name(label, finest_layer(tuple(part)))] for label, part in queries.items()}
    records = [record_interval(job, steps[label], part, targets[label], depth[label]) for label, part in queries.items()]
    for record in records:
        job.on_field(record.step, record.r2)
    return targets, records


def name(label: str, layer: AttentionLayer) -> str:
    """What the field calls a layer's queries of one labelled set."""
    return f"{label}:{layer.path}"


def derive_seed(seed: int, key: str) -> int:
    """A seed from the run's and a name, the same on every machine and in any order."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:4], "little")


def _grid(job: EditJob, layer: AttentionLayer, queries: Tensor) -> Tensor:
    return queries.unflatten(1, layer_grid(job.backbone, layer))


def _target(job: EditJob, rendered: RenderedQueries, label: str, queries: Queries) -> TargetQueries:
    _, held_out = split_views(job.views, job.field.heldout_every)
    measured = held_out if len(held_out) < job.views else slice(None)  # a list of all views would copy their queries
    found = {layer.path: rendered.maps[name(label, layer)][measured] for layer in queries}
    wanted = {layer.path: _grid(job, layer, q)[measured] for layer, q in queries.items()}
    explained = explained_variance(found, wanted, job.region.object[measured])
    return TargetQueries(
        maps={layer: rendered.maps[name(label, layer)].flatten(1, 2) for layer in queries},
        scale={layer: float(q.std()) for layer, q in queries.items()},
        r2={layer: explained[layer.path] for layer in queries},
        components={
            layer: explained_components(
                q, rendered.maps[name(label, layer)].flatten(1, 2), region_tokens(job.region.object[:, None].to(q.device), layer)
            )
            for layer, q in queries.items()
        },
    )


def explained_components(queries: Tensor, rendered: Tensor, inside: Tensor) -> Tensor:
    """U diag(R²) Uᵀ, (channels, channels): U the principal axes of the queries (V, tokens, channels),
    R² the share of each one's variance that `rendered` explains, 0 where it explains none.

    inside: (V, tokens, 1), 0 or 1: which tokens count, all if none is 1. Of the object the field knows
    other components than of the background. All views count, those that trained the field among them:
    of the few that may be left out many components would have too few tokens.
    """
    chosen = inside[..., 0].flatten() > 0
    chosen = chosen if chosen.any() else ~chosen
    wanted, found = (x.flatten(0, 1)[chosen].double() for x in (queries, rendered))
    centred = wanted - wanted.mean(dim=0)
    _, axes = torch.linalg.eigh(centred.T @ centred)
    error = ((wanted - found) @ axes).square().sum(dim=0)
    variance = (centred @ axes).square().sum(dim=0)
    explained = (1 - error / variance.clamp_min(1e-12)).clamp(0, 1)
    return ((axes * explained) @ axes.T).to(queries.dtype)


def record_interval(job: EditJob, step: int, queries: Queries, target: TargetQueries, depth: Tensor) -> IntervalRecord:
    """depth: expected depth of the finest layer's token rays, (V, rows, columns)."""
    finest = finest_layer(tuple(queries))
    return IntervalRecord(
        step=step,
        r2={layer.path: r2 for layer, r2 in target.r2.items()},
        recorded=_grid(job, finest, queries[finest]),
        rendered=_grid(job, finest, target.maps[finest]),
        depth=depth,
    )


def finest_layer(layers: tuple[AttentionLayer, ...]) -> AttentionLayer:
    return min(layers, key=lambda layer: (layer.downsampling, layer.index))
