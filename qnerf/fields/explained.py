"""How much of the queries a field explains."""

from __future__ import annotations

from torch import Tensor

from qnerf.fields.query_field import QueryField
from qnerf.fields.train_query_field import split_views
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.region import tokens_inside


def r_squared(found: Tensor, wanted: Tensor) -> float:
    """1 - Σ (found - wanted)² / Σ (wanted - mean)²: both (..., C), the mean over everything but the channels.

    1 is perfect; 0 is no better than knowing each channel's mean.
    """
    wanted = wanted.flatten(0, -2).double()
    residual = (found.flatten(0, -2).double() - wanted).square().sum()
    variance = (wanted - wanted.mean(dim=0)).square().sum()
    return float(1 - residual / variance.clamp_min(1e-12))


def explained_variance(found: dict[str, Tensor], wanted: dict[str, Tensor], region: Tensor | None = None) -> dict[str, float]:
    """R² per layer of rendered maps against recorded ones, each (V, rows, columns, C) and on one device.

    region: (V, h, w), 0 or 1: only tokens that cover any of it count. None, or nothing inside: all do.
    """
    if region is None or not region.any():
        return {name: r_squared(found[name], maps) for name, maps in wanted.items()}
    inside = {name: tokens_inside(region.to(maps.device), *maps.shape[1:3]) for name, maps in wanted.items()}
    return {name: r_squared(found[name][inside[name]], maps[inside[name]]) for name, maps in wanted.items()}


def measure_field(field: QueryField, maps: dict[str, Tensor], cameras: Cameras, region: Tensor | None = None) -> dict[str, float]:
    """`explained_variance` of what the field renders: on the views that its training left out or, where it left out none, on all.

    maps: per layer (V, rows, columns, C), of the views that the field was given. region: (V, h, w).
    """
    _, measured = split_views(len(cameras), field.settings.heldout_every)
    wanted = {name: value[measured] for name, value in maps.items()}
    found = field.render_to(cameras[measured], next(iter(maps.values())).device).maps
    return explained_variance(found, wanted, None if region is None else region[measured])
