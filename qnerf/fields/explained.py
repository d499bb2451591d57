"""How much of the queries a field explains."""

from __future__ import annotations

from torch import Tensor

from qnerf.fields.query_field import QueryField
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


def explained_variance(
    field: QueryField, maps: dict[str, Tensor], cameras: Cameras, region: Tensor | None = None
) -> dict[str, float]:
    """R² per layer of the field's renderings against maps (V, rows, columns, C) of `cameras`, training or held-out, measured where
    the maps lie.

    region: (V, h, w), 0 or 1: only tokens that cover any of it count. None, or nothing inside: all do.
    """
    home = next(iter(maps.values())).device
    rendered = field.render_to(cameras, home).maps
    if region is None or not region.any():
        return {name: r_squared(rendered[name], wanted) for name, wanted in maps.items()}
    inside = {name: tokens_inside(region.to(home), *wanted.shape[1:3]) for name, wanted in maps.items()}
    return {name: r_squared(rendered[name][inside[name]], wanted[inside[name]]) for name, wanted in maps.items()}
