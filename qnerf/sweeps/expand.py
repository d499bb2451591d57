"""The jobs of a command line, composed: one expander for `-m`, which runs them, and for `qnerf.validate`, which only checks them.

Hydra takes a tenth of a second to compose a config, so that a sweep of 200 cells is composed once for every combination of
chosen files, and the swept values are then set in copies of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from qnerf.composing.presets import drop_left_over
from qnerf.errors import UserError

Swept = Mapping[str, Sequence[str]]  # the values of each swept key, as a command line has them
Compose = Callable[[list[str]], DictConfig]  # the config of some overrides


@dataclass(frozen=True)
class Job:
    """One run. overrides: all of its command line. swept: those of them that differ between jobs, key by key. notes: what was left
    out of its config, a sentence each."""

    overrides: tuple[str, ...]
    swept: Mapping[str, str]
    config: DictConfig
    notes: Sequence[str] = ()


def sweep_params(config: DictConfig) -> list[str]:
    """The sweep that a composed config brings in `hydra.sweeper.params`, as overrides."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def parse_overrides(overrides: Sequence[str], loader: ConfigLoader | None = None) -> tuple[dict[str, str], dict[str, Override]]:
    """The overrides with one value, as text, and those with several, parsed; by key (`+exp`).

    Of a key that is given twice the last counts, as in Hydra. loader: what the groups of `guidance=glob(*)` are looked up in.
    """
    parser = OverridesParser.create(loader)
    last = {parsed.get_key_element(): parsed for parsed in parser.parse_overrides(list(overrides))}
    fixed = {key: str(parsed.input_line) for key, parsed in last.items() if not parsed.is_sweep_override()}
    return fixed, {key: parsed for key, parsed in last.items() if parsed.is_sweep_override()}


def values_of(override: Override) -> list[str]:
    """The values of a swept override. Raises HydraException for an interval, which has none to enumerate."""
    if override.is_interval_sweep():
        raise HydraException(
            f"{override.input_line}: an interval cannot be a grid; give a list of values, or search it with hydra/sweeper=optuna"
        )
    return [str(value) for value in override.sweep_string_iterator()]


def split_overrides(overrides: Sequence[str], loader: ConfigLoader | None = None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The overrides with one value, and the values of those with several (`a=1,2` or `a=range(3)`), by key (`+exp`)."""
    fixed, swept = parse_overrides(overrides, loader)
    return fixed, {key: values_of(parsed) for key, parsed in swept.items()}


def expand(overrides: Sequence[str], compose: Compose, loader: ConfigLoader) -> tuple[Swept, Iterator[Job]]:
    """What is swept, and every job in Hydra's order: the last key fastest. Raises UserError for a key that
    belongs to the sweep as a whole, and in the iteration what `compose` raises."""
    fixed, swept = split_overrides(overrides, loader)
    for key in swept:
        if key == "output_dir" or key.startswith("sweep."):
            raise UserError(f"{key}: a sweep has one for all its cells, got {', '.join(swept[key])}; expected a single value")
    grid = (dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values()))
    jobs = jobs_at(list(fixed.values()), grid, compose, loader)
    return {key.lstrip("+"): values for key, values in swept.items()}, jobs


def jobs_at(fixed: Sequence[str], points: Iterable[Mapping[str, str]], compose: Compose, loader: ConfigLoader) -> Iterator[Job]:
    """A job for each point, which has a value for every swept key. Raises what `compose` raises, in the iteration."""
    is_file = cache(lambda key: key.startswith(("+", "~")) or bool(loader.get_group_options(key)))
    bases: dict[tuple[str, ...], DictConfig] = {}
    for point in points:
        files = [key for key in point if is_file(key)]
        chosen = (*point, *(point[key] for key in files))
        texts = [f"{key}={value}" for key, value in point.items()]
        if chosen not in bases:  # its swept values are replaced below, but tell whether their keys exist
            bases[chosen] = compose([*fixed, *texts])
        config = _with_values(bases[chosen], [f"{key}={point[key]}" for key in point if key not in files])
        overrides = (*fixed, *texts)
        notes = drop_left_over(config, overrides)
        yield Job(overrides, {key.lstrip("+"): value for key, value in point.items()}, config, notes)


def _with_values(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    if not overrides:
        return config
    config = deepcopy(config)
    for override in overrides:
        parsed = OverridesParser.create().parse_override(override)
        OmegaConf.update(config, parsed.key_or_group, parsed.value(), merge=True)
    return config
