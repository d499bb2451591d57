"""Training of a query field on recorded query maps (docs/method.md §2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.devices import HOST, pinned_like, send
from qnerf.errors import UserError
from qnerf.fields.head_init import principal_heads
from qnerf.fields.query_field import LayerGroup, LayerShape, QueryField
from qnerf.fields.query_units import QueryUnits
from qnerf.fields.settings import FieldSettings, RayLoss
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid
from qnerf.fields.training import OnStep, train
from qnerf.fields.trunk import derive_seed
from qnerf.graphs import RecorderOf, cuda_recorder
from qnerf.scenes.cameras import Cameras, Rays

HEAD_VIEWS = 16
"""Views whose queries the heads start from, at most."""


@dataclass(frozen=True)
class TokenBatches:
    """One resolution's training rays. order: in which training sees the tokens. targets: (tokens, Σ channels) in the field's units,
    on the device or in the host's memory.

    layers: channels of each layer in `targets`. per_step: rays of this resolution in every batch. fetched: where a step's targets
    are brought to, (per_step, Σ channels) on the device; None where all `targets` are there.
    """

    grid: TokenGrid
    order: Tensor
    targets: Tensor
    layers: tuple[int, ...]
    per_step: int
    fetched: Tensor | None

    def draw(self, step: Tensor | int, order: Tensor | None = None) -> Tensor:
        """The tokens of a step (per_step,): successive stretches of the order, where that lies."""
        order = self.order if order is None else order
        place = torch.arange(self.per_step, device=order.device) + step * self.per_step
        return order[place % len(order)]

    def at(self, tokens: Tensor) -> Tensor:
        """Targets (P, Σ channels) of a step's tokens (P,), on the device: those that were fetched for it, where any had to be."""
        return self.targets[tokens] if self.fetched is None else self.fetched


def train_query_field(
    queries: dict[str, Tensor],
    cameras: Cameras,
    space: Space,
    settings: FieldSettings,
    seed: int,
    warm_start: QueryField | None = None,
    target_depth: Tensor | None = None,
    on_step: OnStep | None = None,
    recorder_of: RecorderOf = cuda_recorder,
) -> QueryField:
    """Fit one field to the queries of V views, where the cameras lie; the queries may be elsewhere (`settings.device_gib`).

    queries: per layer (V, rows, columns, C), any scale. cameras: those V views. warm_start: a field of the same layers and
    settings whose parameters are taken over. target_depth: (V, H, W) distance along the ray, world units, not finite where
    unknown; used where `settings.depth_weight` > 0. Views that `settings.heldout_every` leaves out are not looked at.
    on_step(step, total, loss), recorder_of: as for `training.train`. On the CPU the same arguments give bit-equal fields.
    """
    shapes = _check(queries, cameras)
    seen, _ = split_views(len(cameras), settings.heldout_every)
    if len(seen) < len(cameras):  # to index is to copy
        queries, cameras = {name: value[seen] for name, value in queries.items()}, cameras[seen]
        target_depth = None if target_depth is None else target_depth[seen]
    field = QueryField(settings, space, shapes, cameras.focal.device, seed)
    if warm_start is not None:
        _copy_parameters(warm_start, field)
    for units, value in zip(field.layer_units, queries.values(), strict=True):
        units.fit(value, settings.normalisation)
    home = _storage(queries, cameras.focal.device, settings.device_gib)
    batches = [_batches(field, group, queries, seed, home) for group in field.groups]
    if warm_start is None:
        _start_heads(field, batches, seed)
    elif settings.components is not None:
        _turn_heads(field, warm_start)
    depth = target_depth if settings.depth_weight > 0 else None
    train(field, field.trunk, QueryLoss(field, batches, cameras, depth), settings.optimiser, seed, on_step, recorder_of)
    return field


def split_views(views: int, heldout_every: int | None) -> tuple[list[int], list[int]]:
    """The views that a field is trained on, and those that R² is measured on: what is left out, or the same where nothing is."""
    everyone = list(range(views))
    if heldout_every is None:
        return everyone, everyone
    if heldout_every > views:
        raise UserError(
            f"field.heldout_every: got {heldout_every}, which holds out none of {views} views; expected at most {views}"
        )
    held_out = everyone[heldout_every - 1 :: heldout_every]
    return [view for view in everyone if view not in held_out], held_out


def _storage(queries: dict[str, Tensor], device: torch.device, device_gib: float) -> torch.device:
    """Where the training's targets lie: on the device if they are small enough, else in the host's memory, batch by batch."""
    size = sum(value.numel() * torch.float32.itemsize for value in queries.values())
    return device if size <= device_gib * 2**30 else HOST


def _check(queries: dict[str, Tensor], cameras: Cameras) -> tuple[LayerShape, ...]:
    for name, value in queries.items():
        if value.dim() != 4 or value.shape[0] != len(cameras):
            raise UserError(
                f"the queries of layer {name} have shape {tuple(value.shape)}; expected (views, rows, "
                f"columns, channels) with {len(cameras)} views: pass one map per camera"
            )
        if not torch.isfinite(value).all():
            raise UserError(f"the queries of layer {name} are NaN or infinite; expected finite values: try backbone.dtype=float32")
    if not queries:
        raise UserError("no queries were given to train a field on; choose a recorder with at least one layer")
    return tuple(LayerShape(name, *value.shape[1:]) for name, value in queries.items())


def _copy_parameters(source: QueryField, field: QueryField) -> None:
    if source.shapes != field.shapes:
        raise UserError("the field to start from has other layers than the queries; set schedule.warm_start=null")
    field.load_state_dict(source.state_dict())


def _batches(field: QueryField, group: LayerGroup, queries: dict[str, Tensor], seed: int, home: torch.device) -> TokenBatches:
    settings, values = field.settings, list(queries.values())
    grid = TokenGrid(values[group.layers[0]].shape[0], group.rows, group.columns)
    targets = torch.empty(grid.views, group.rows, group.columns, sum(group.channels), device=home)
    for index, part in zip(group.layers, targets.split(group.channels, dim=-1), strict=True):
        _write_in_units(field.layer_units[index], values[index], part)
    sizes = {other: (other.rows * other.columns) ** settings.small_map_share for other in field.groups}
    per_step = max(1, round(settings.optimiser.rays_per_batch * sizes[group] / sum(sizes.values())))
    generator = torch.Generator().manual_seed(derive_seed(seed, 6, group.rows, group.columns))
    order, device = torch.randperm(len(grid), generator=generator), field.head_layers[0].weight.device
    fetched = None if home == device else torch.empty(per_step, targets.shape[-1], device=device)
    return TokenBatches(grid, order.to(device), targets.flatten(0, 2), group.channels, per_step, fetched)


def _write_in_units(units: QueryUnits, queries: Tensor, targets: Tensor) -> None:
    """A layer's queries (V, rows, columns, C) into `targets` (V, rows, columns, width), in the field's units, view by view."""
    for view, place in zip(queries, targets, strict=True):
        place.copy_(units.into(send(view, units.mean.device)))


@torch.no_grad()
def _start_heads(field: QueryField, batches: list[TokenBatches], seed: int) -> None:
    """From at most `HEAD_VIEWS` views, evenly chosen: components need no more, and memory must not grow with the views."""
    device = field.head_layers[0].weight.device
    views = torch.linspace(0, batches[0].grid.views - 1, min(batches[0].grid.views, HEAD_VIEWS)).round().long().tolist()
    maps = [b.targets.view(b.grid.views, b.grid.rows, b.grid.columns, -1)[views].to(device) for b in batches]
    generator = torch.Generator().manual_seed(derive_seed(seed, 7))
    weights, biases = principal_heads(maps, field.settings.geometry_width, generator)
    for head, weight, bias in zip(field.head_layers, weights, biases, strict=True):
        head.weight.copy_(weight)
        head.bias.copy_(bias)


@torch.no_grad()
def _turn_heads(field: QueryField, before: QueryField) -> None:
    """Heads taken over from another field say the same on this one's principal axes: W ← A_newᵀ A_old W, and b likewise."""
    for group, head in zip(field.groups, field.head_layers, strict=True):
        turns = [field.layer_units[i].axes.T @ before.layer_units[i].axes for i in group.layers]
        turn = torch.block_diag(*turns)
        head.weight.copy_(turn @ head.weight)
        head.bias.copy_(turn @ head.bias)


class QueryLoss:
    """Mean over the rays of Σ_l ‖Q̂_l(r) - q_l(r)‖₂ (not squared), over each ray's own layers; plus λ_d |d̂ - d| / radius.

    `settings.loss` puts another function of the distance in the norm's place, and `settings.trimmed` leaves the worst rays out.
    """

    def __init__(self, field: QueryField, batches: list[TokenBatches], cameras: Cameras, depth: Tensor | None) -> None:
        self.field, self.batches, self.cameras, self.depth = field, batches, cameras, depth
        self.orders_at_home = [None if batch.fetched is None else batch.order.to(HOST) for batch in batches]

    def fetch(self, step: int) -> None:
        for batch, order in zip(self.batches, self.orders_at_home, strict=True):
            if batch.fetched is not None:
                found = pinned_like(batch.fetched)
                torch.index_select(batch.targets, 0, batch.draw(step, order), out=found)
                batch.fetched.copy_(found, non_blocking=True)

    def __call__(self, step: Tensor, generator: torch.Generator) -> Tensor:
        field, settings, cameras = self.field, self.field.settings, self.cameras
        views, pixels, drawn = [], [], []
        for batch in self.batches:
            tokens = batch.draw(step)
            noise = torch.rand(len(tokens), 2, generator=generator, device=tokens.device)
            view, pixel = batch.grid.pixels(cameras, tokens, 0.5 + settings.jitter * (noise - 0.5))
            views, pixels, drawn = [*views, view], [*pixels, pixel], [*drawn, tokens]
        view, pixel = torch.cat(views), torch.cat(pixels)
        feature, _, found = field.march(_float_rays(cameras.rays(view, pixel)), settings.sampling.fine_samples, generator)
        total = feature.new_zeros(())
        parts = feature.split([len(tokens) for tokens in drawn])
        for part, head, batch, tokens in zip(parts, field.head_layers, self.batches, drawn, strict=True):
            error = (head(part) - batch.at(tokens)).split(batch.layers, dim=-1)
            total = total + sum(trimmed_sum(ray_loss(layer, settings.loss), settings.trimmed) for layer in error)
        total = total / len(view)
        if self.depth is not None:
            total = total + settings.depth_weight * _depth_error(found, self.depth, view, pixel, cameras, field.space)
        return total


def ray_loss(error: Tensor, kind: RayLoss) -> Tensor:
    """Of each ray's error (R, C), in the field's units: (R,).

    norm: ‖e‖₂ (the paper's). squared: ‖e‖₂². huber: ‖e‖₂ beyond the distance δ = √C / 2, half a standard deviation a channel, and a
    parabola of the same slope, ‖e‖₂² / 2δ + δ / 2, within it.
    """
    distance = error.norm(dim=-1)
    if kind == "norm":
        return distance
    if kind == "squared":
        return distance.square()
    delta = 0.5 * error.shape[-1] ** 0.5
    return torch.where(distance > delta, distance, distance.square() / (2 * delta) + delta / 2)


def trimmed_sum(losses: Tensor, share: float) -> Tensor:
    """The sum of all but the largest `share` of (R,) losses, times R over the number that is left: a sum over R rays."""
    if not share:
        return losses.sum()
    kept = max(round((1 - share) * len(losses)), 1)
    return losses.topk(kept, largest=False).values.sum() * (len(losses) / kept)


def _float_rays(rays: Rays) -> Rays:
    return Rays(rays.origins.float(), rays.directions.float())


def _depth_error(found: Tensor, depth: Tensor, view: Tensor, pixel: Tensor, cameras: Cameras, space: Space) -> Tensor:
    """Mean |d̂ - d| in radii over the rays whose depth is known; the target is read at the nearest pixel of its own resolution."""
    height, width = depth.shape[1:]
    column = (pixel[:, 0] * (width / cameras.width)).long().clamp(0, width - 1)
    row = (pixel[:, 1] * (height / cameras.height)).long().clamp(0, height - 1)
    wanted = depth[view, row, column].to(found)
    known = torch.isfinite(wanted)
    error = torch.where(known, (found - torch.where(known, wanted, found)).abs(), 0.0)
    return error.sum() / known.sum().clamp_min(1) / space.radius
