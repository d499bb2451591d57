"""Bootstrap intervals of means and of ratios of means, over scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS, SEED = 10_000, 0


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval. count: scenes that it rests on."""

    value: float
    low: float
    high: float
    count: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float], scenes: Sequence[str]) -> Interval:
    """The mean of all values; `ratio_interval` with denominators of 1."""
    return ratio_interval(values, [1.0] * len(values), scenes)


def ratio_interval(above: Sequence[float], below: Sequence[float], scenes: Sequence[str], draws: int = DRAWS) -> Interval:
    """Σ above / Σ below over cells, with the 2.5 and 97.5 % quantiles of its bootstrap distribution.

    Whole scenes are drawn with replacement, each with all its cells, since cells of one scene are not independent (Davison and
    Hinkley, "Bootstrap methods and their application", 1997, §3.8). One scene alone tells nothing of others: its interval is
    unbounded. NaN without cells, or where the denominator is 0.
    """
    names = sorted(set(scenes))
    sums = np.array([[sum(v for v, s in zip(part, scenes, strict=True) if s == name) for name in names] for part in (above, below)])
    if not names or sums[1].sum() == 0:
        return Interval(float("nan"), float("nan"), float("nan"), len(names))
    value = float(sums[0].sum() / sums[1].sum())
    if len(names) == 1:
        return Interval(value, float("-inf"), float("inf"), 1)
    drawn = sums[:, np.random.default_rng(SEED).integers(len(names), size=(draws, len(names)))].sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(drawn[0] / drawn[1], [0.025, 0.975])
    return Interval(value, float(low), float(high), len(names))
