"""The cells of a sweep and all their errors, without starting one: what `-m` would run, composed and validated.

Hydra takes a tenth of a second to compose a config, so that a sweep of 200 cells is composed once for every combination of
chosen files, and the swept values are then set in copies of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from qnerf.config import RunSettings, check
from qnerf.runs.overrides import REFUSALS, explain_refusal

Swept = Mapping[str, Sequence[str]]  # the values of each swept key, as a command line has them


@dataclass(frozen=True)
class Plan:
    """What a command line would run. errors: one sentence each. cells: the settings of every run that has no error."""

    swept: Swept
    cells: Sequence[RunSettings]
    errors: Sequence[str]


def plan_command(overrides: Sequence[str], folder: Path) -> Plan:
    """The cells of a command line (`+exp=…`, `key=value`, `key=a,b`) for the configs in `folder`, or every error in it.

    A named experiment may bring a sweep of its own, in `hydra.sweeper.params`; the command line's values replace it.
    """
    overrides = [o for o in overrides if o not in ("-m", "--multirun")]
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            fixed, swept = split_overrides(overrides)
            swept = {**_sweep_of_experiment(fixed, swept), **swept}
            errors, cells = _check_cells(fixed, swept, folder)
    except REFUSALS as refusal:
        return Plan({}, (), _explain_all(refusal, overrides, folder))
    return Plan(swept, cells, errors)


def _explain_all(refusal: Exception, overrides: Sequence[str], folder: Path) -> list[str]:
    """Every error: of the first job, and of the jobs that bring the other swept values, one value of every key at a time."""
    values = [_values(override) for override in overrides]
    errors: dict[str, None] = {}
    for column in range(max(map(len, values))):
        chosen = list(dict.fromkeys(each[min(column, len(each) - 1)] for each in values))
        found = explain_refusal(refusal, chosen, folder, lambda config: check(config)[0])
        errors.update(dict.fromkeys(found))
    fallback = str(refusal).strip().splitlines()[0].rstrip(".")  # what explain_refusal says of a job without an error
    return [error for error in errors if error != fallback] or list(errors)


def _values(override: str) -> list[str]:
    """An override once for each of its values; one that cannot be read as it stands."""
    try:
        fixed, swept = split_overrides([override])
    except REFUSALS:
        return [override]
    return fixed or [f"{key}={value}" for key, values in swept.items() for value in values]


def split_overrides(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The overrides with one value, and the values of those with several (`a=1,2` or `a=range(3)`)."""
    fixed: list[str] = []
    swept: dict[str, list[str]] = {}
    for override in overrides:
        parsed = OverridesParser.create().parse_override(override)
        if parsed.is_sweep_override():
            swept[override.split("=", 1)[0]] = [str(value) for value in parsed.sweep_string_iterator()]
        else:
            fixed.append(override)
    return fixed, swept


def _sweep_of_experiment(fixed: Sequence[str], swept: Swept) -> dict[str, list[str]]:
    """The sweep that the chosen experiment brings, without the keys that the command line sets."""
    config = compose("config", [*fixed, *_first_values(swept)], return_hydra_config=True)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given = {override.split("=", 1)[0] for override in fixed}
    return split_overrides([f"{key}={value}" for key, value in params.items() if key not in given])[1]


def _check_cells(fixed: Sequence[str], swept: Swept, folder: Path) -> tuple[list[str], list[RunSettings]]:
    """Every error of any cell, each once, and the settings of the cells without one."""
    groups = [key for key in swept if (folder / key.lstrip("+")).is_dir() or key.startswith(("+", "~"))]
    values = [key for key in swept if key not in groups]
    errors: dict[str, None] = {}
    cells: list[RunSettings] = []
    for choice in _combinations(swept, groups):
        config = compose("config", [*fixed, *_texts(choice), *_first_values({key: swept[key] for key in values})])
        for cell in _combinations(swept, values):
            found, settings = check(_with_values(config, cell))
            errors.update(dict.fromkeys(found))
            cells += [settings] if settings else []
    return list(errors), cells


def _with_values(config: DictConfig, values: Mapping[str, str]) -> DictConfig:
    if not values:
        return config
    config = deepcopy(config)
    for override in _texts(values):
        parsed = OverridesParser.create().parse_override(override)
        OmegaConf.update(config, parsed.key_or_group, parsed.value(), merge=False)
    return config


def _combinations(swept: Swept, keys: Sequence[str]) -> Iterable[dict[str, str]]:
    """Every combination of the values of some keys, the last key fastest, as Hydra orders its jobs."""
    return (dict(zip(keys, values, strict=True)) for values in itertools.product(*(swept[key] for key in keys)))


def _first_values(swept: Swept) -> list[str]:
    return _texts({key: values[0] for key, values in swept.items()})


def _texts(values: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]
