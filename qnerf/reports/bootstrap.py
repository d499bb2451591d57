"""Bootstrap intervals of means and of ratios of means, over scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

DRAWS, SEED = 10_000, 0
LEAST_SCENES = 6  # below, quantiles of a bootstrap distribution are little more than the least and the greatest scene
LEVEL = 0.95
UNCERTAIN = 0.01  # share of draws without a positive denominator from which a ratio has no interval


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
    """Σ above / Σ below over cells, with the quantiles `tails` of its bootstrap distribution as a 95 % interval.

    Whole scenes are drawn with replacement, each with all its cells, since cells of one scene are not independent (Davison and
    Hinkley, "Bootstrap methods and their application", 1997, §3.8). Of fewer than `LEAST_SCENES` scenes the interval is
    unbounded, as it is where a ratio's denominator can as well be 0. NaN without cells, or where the denominator is not above 0,
    which makes no share of it.
    """
    names = sorted(set(scenes))
    sums = np.array([[sum(v for v, s in zip(part, scenes, strict=True) if s == name) for name in names] for part in (above, below)])
    if not names or sums[1].sum() <= 0:
        return Interval(float("nan"), float("nan"), float("nan"), len(names))
    value, unbounded = float(sums[0].sum() / sums[1].sum()), (float("-inf"), float("inf"))
    if len(names) < LEAST_SCENES:
        return Interval(value, *unbounded, len(names))
    drawn = sums[:, np.random.default_rng(SEED).integers(len(names), size=(draws, len(names)))].sum(axis=2)
    if (drawn[1] <= 0).mean() > UNCERTAIN:
        return Interval(value, *unbounded, len(names))
    low, high = np.quantile((drawn[0] / drawn[1])[drawn[1] > 0], tails(len(names)))
    return Interval(value, float(low), float(high), len(names))


def tails(scenes: int) -> tuple[float, float]:
    """The quantiles that make a bootstrap distribution of the mean of so few an interval of 95 %: Φ(∓ t √(n / (n - 1))), not
    2.5 and 97.5 %, which cover 86 % of the time with 6 scenes and 90 % with 12 (the expanded percentile interval of Hesterberg,
    "What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015)."""
    low = NormalDist().cdf(-student_quantile(0.5 + LEVEL / 2, scenes - 1) * (scenes / (scenes - 1)) ** 0.5)
    return low, 1 - low


def student_quantile(share: float, freedom: int) -> float:
    """Of Student's t distribution with that many degrees of freedom, from 5 on to within .003 (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
