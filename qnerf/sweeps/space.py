"""The space that a search looks through: a dimension for every key of the command line that has several values or an interval.

Nothing of it needs the package that searches, so that `qnerf.validate` can check and cost a search without it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from qnerf.common.messages import describe_error
from qnerf.errors import UserError
from qnerf.sweeps.command import SEARCH, SWEEPER
from qnerf.sweeps.expand import parse_overrides, sweep_params, values_of
from qnerf.sweeps.settings import SearchSettings

Point = Mapping[str, str]  # a value for every key, as on a command line
DIGITS = 4  # of a number: what is run is what is read
UNSWEPT = "there is nothing to search; give a key an interval or several values: 'guidance.strength=interval(0.01,0.06)'"


@dataclass(frozen=True)
class Choices:
    """Values without an order, as on the command line."""

    values: Sequence[str]

    def at(self, share: float) -> str:
        """The value at a share of the way, 0 to 1."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def ends(self) -> Sequence[str]:
        """All values: each may bring an error of its own."""
        return self.values

    def __str__(self) -> str:
        return ", ".join(self.values)


@dataclass(frozen=True)
class Interval:
    """Numbers from low to high, both among them. whole: integers alone. log: even in the logarithm."""

    low: float
    high: float
    whole: bool = False
    log: bool = False

    def at(self, share: float) -> str:
        """The number at a share of the way, 0 to 1."""
        value = self.low * (self.high / self.low) ** share if self.log else self.low + share * (self.high - self.low)
        return self.text(value)

    def ends(self) -> Sequence[str]:
        """The smallest and the largest number."""
        return self.text(self.low), self.text(self.high)

    def text(self, value: float) -> str:
        """A number as it stands on a command line, rounded and inside the interval."""
        if self.whole:
            return str(round(value))
        return repr(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


Dimension = Choices | Interval
Space = Mapping[str, Dimension]


def read_space(overrides: Sequence[str]) -> tuple[list[str], Space]:
    """The overrides with one value, and the space of the others by key (`+exp`): `a,b`, `range(…)`, `interval(…)`,
    `int(interval(…))`, `tag(log, interval(…))`. Of a key that is given twice the last counts."""
    fixed, swept = parse_overrides(overrides)
    return list(fixed.values()), {key: _dimension(override) for key, override in swept.items()}


def is_search(config: DictConfig) -> bool:
    """Whether a config composed with its `hydra` node chooses this sweeper, on the command line or in an experiment's file."""
    return config.hydra.runtime.choices[SWEEPER] == SEARCH


def read_search(config: DictConfig, overrides: Sequence[str]) -> tuple[SearchSettings, list[str], Space]:
    """The settings of a search, the overrides that all its cells share, and its space. Raises UserError for all errors found."""
    node: Any = OmegaConf.to_container(config.hydra.sweeper)
    node.pop("_target_", None)  # Hydra's, of the plugin
    try:
        settings = SearchSettings.model_validate(node)
    except ValidationError as error:
        lines = [describe_error(item, SearchSettings, node) for item in error.errors()]
        raise UserError("\n".join(f"hydra.sweeper.{line}" for line in lines)) from None
    fixed, space = read_space([*sweep_params(config), *overrides])
    if not space:
        raise UserError(f"{SWEEPER}={SEARCH}: {UNSWEPT}")
    return settings, fixed, space


def _dimension(override: Override) -> Dimension:
    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        return Choices(values_of(override))
    low, high = sweep.start or 0, sweep.end or 0
    return Interval(float(low), float(high), isinstance(low, int) and isinstance(high, int), "log" in sweep.tags)


def ends(space: Space) -> list[Point]:
    """Points that have every choice and every interval's ends among them, one key at a time: where errors are. The other keys have
    their first choice, or where they are intervals no value but the config's own."""
    first = {key: dimension.values[0] for key, dimension in space.items() if isinstance(dimension, Choices)}
    points = [{**first, key: value} for key, dimension in space.items() for value in dimension.ends()]
    return list({tuple(point.items()): point for point in points}.values())


def spread(space: Space, count: int) -> list[Point]:
    """So many points, evenly over the space: the additive recurrence R of Roberts (2018), extremelearning.com.au."""
    root = 1.0
    for _ in range(64):  # to the root of x^(d + 1) = x + 1, which generalises the golden ratio
        root = (1 + root) ** (1 / (len(space) + 1))
    steps = [root ** -(i + 1) for i in range(len(space))]
    return [
        {key: dimension.at(math.fmod(0.5 + n * step, 1)) for (key, dimension), step in zip(space.items(), steps, strict=True)}
        for n in range(count)
    ]
