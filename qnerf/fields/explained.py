"""How much of the queries a field explains."""

from __future__ import annotations

from torch import Tensor

from qnerf.fields.query_field import QueryField
from qnerf.scenes.cameras import Cameras


def r_squared(found: Tensor, wanted: Tensor) -> float:
    """1 - Σ (found - wanted)² / Σ (wanted - mean)²: both (..., C), the mean over everything but the channels.

    1 is perfect; 0 is no better than knowing each channel's mean.
    """
    wanted = wanted.flatten(0, -2).double()
    residual = (found.flatten(0, -2).double() - wanted).square().sum()
    variance = (wanted - wanted.mean(dim=0)).square().sum()
    return float(1 - residual / variance.clamp_min(1e-12))


def explained_variance(field: QueryField, maps: dict[str, Tensor], cameras: Cameras) -> dict[str, float]:
    """R² per layer of the field's renderings against maps (V, rows, columns, C) of `cameras`, training or held-out."""
    rendered = field.render(cameras).maps
    return {name: r_squared(rendered[name], wanted) for name, wanted in maps.items()}
