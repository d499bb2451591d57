"""The jobs of a command line, composed: one expander for `-m`, which runs them, and for `qnerf.validate`, which only checks them.

Hydra takes a tenth of a second to compose a config, so that a sweep of 200 cells is composed once for every combination of
chosen files, and the swept values are then set in copies of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

Swept = Mapping[str, Sequence[str]]  # the values of each swept key, as a command line has them
Compose = Callable[[list[str]], DictConfig]  # the config of some overrides


@dataclass(frozen=True)
class Job:
    """One run. overrides: all of its command line. swept: those of them that differ between jobs, key by key."""

    overrides: tuple[str, ...]
    swept: Mapping[str, str]
    config: DictConfig


def sweep_params(config: DictConfig) -> list[str]:
    """The sweep that a composed config brings in `hydra.sweeper.params`, as overrides."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]


def split_overrides(overrides: Sequence[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The overrides with one value, and the values of those with several (`a=1,2` or `a=range(3)`), by key (`+exp`).

    Of a key that is given twice the last counts, as in Hydra.
    """
    parser = OverridesParser.create()
    last = {parsed.get_key_element(): parsed for parsed in map(parser.parse_override, overrides)}
    fixed = {key: str(parsed.input_line) for key, parsed in last.items() if not parsed.is_sweep_override()}
    swept = {
        key: [str(value) for value in parsed.sweep_string_iterator()] for key, parsed in last.items() if parsed.is_sweep_override()
    }
    return fixed, swept


def expand(overrides: Sequence[str], compose: Compose, loader: ConfigLoader) -> tuple[Swept, Iterator[Job]]:
    """What is swept, and every job in Hydra's order: the last key fastest. Raises what `compose` raises, in the iteration."""
    fixed, swept = split_overrides(overrides)
    return {key.lstrip("+"): values for key, values in swept.items()}, _jobs(list(fixed.values()), swept, compose, loader)


def _jobs(fixed: list[str], swept: Swept, compose: Compose, loader: ConfigLoader) -> Iterator[Job]:
    files = [key for key in swept if key.startswith(("+", "~")) or loader.get_group_options(key)]
    bases: dict[tuple[str, ...], DictConfig] = {}
    for values in itertools.product(*swept.values()):
        cell = dict(zip(swept, values, strict=True))
        chosen = tuple(cell[key] for key in files)
        texts = [f"{key}={value}" for key, value in cell.items()]
        if chosen not in bases:  # its swept values are replaced below, but tell whether their keys exist
            bases[chosen] = compose([*fixed, *texts])
        config = _with_values(bases[chosen], [f"{key}={cell[key]}" for key in cell if key not in files])
        yield Job((*fixed, *texts), {key.lstrip("+"): value for key, value in cell.items()}, config)


def _with_values(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    if not overrides:
        return config
    config = deepcopy(config)
    for override in overrides:
        parsed = OverridesParser.create().parse_override(override)
        OmegaConf.update(config, parsed.key_or_group, parsed.value(), merge=True)
    return config
