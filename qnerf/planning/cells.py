"""The cells of a sweep and all their errors, without starting one: what `-m` would run, composed and validated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from qnerf.composing.overrides import REFUSALS, each_value, editor_clashes, explain_refusal, first_value, search_folders
from qnerf.config import RunSettings, check
from qnerf.errors import UserError
from qnerf.sweeps.command import FLAGS
from qnerf.sweeps.expand import Job, Swept, expand, jobs_at, sweep_params
from qnerf.sweeps.space import ends, is_search, read_search, spread


@dataclass(frozen=True)
class Plan:
    """What a command line would run. errors, notes (what is left out): one sentence each. cells: the settings of every run that has
    no error. grid: the sweep that an experiment brings, as its file has it."""

    swept: Swept
    cells: Sequence[RunSettings]
    errors: Sequence[str]
    notes: Sequence[str] = ()
    grid: Mapping[str, str] = field(default_factory=dict)


def plan_command(overrides: Sequence[str], folder: Path) -> Plan:
    """The cells of a command line (`+exp=…`, `key=value`, `key=a,b`) for the configs in `folder`, or every error in it.

    A named experiment may bring a sweep of its own, in `hydra.sweeper.params`; the command line's values replace it.
    """
    overrides = [o for o in overrides if o not in FLAGS]
    if clashes := editor_clashes(overrides):
        return Plan({}, (), clashes)
    folders = search_folders(folder, overrides)
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            config = compose("config", [first_value(o, folders) for o in overrides], return_hydra_config=True)
            loader = GlobalHydra.instance().config_loader()
            grid = {str(key): str(values) for key, values in (OmegaConf.select(config, "hydra.sweeper.params") or {}).items()}
            if is_search(config):
                return replace(_plan_search(config, overrides, loader), grid=grid)
            swept, jobs = expand([*sweep_params(config), *overrides], _compose, loader)
            errors, cells, notes = _check_jobs(jobs)
    except REFUSALS as refusal:
        return Plan({}, (), _explain_all(refusal, overrides, folder))
    except UserError as error:
        return Plan({}, (), str(error).splitlines())
    return Plan(swept, cells, errors, notes, grid)


def _plan_search(config: DictConfig, overrides: Sequence[str], loader: ConfigLoader) -> Plan:
    """As many cells as a search has trials, spread over its space, since nobody knows yet which it will choose."""
    try:
        settings, fixed, space = read_search(config, overrides)
    except UserError as error:
        return Plan({}, (), str(error).splitlines())
    errors, *_ = _check_jobs(jobs_at(fixed, ends(space), _compose, loader))
    more, cells, notes = _check_jobs(jobs_at(fixed, spread(space, settings.trials), _compose, loader))
    swept = {key.lstrip("+"): [str(dimension)] for key, dimension in space.items()}
    return Plan(swept, cells, errors or more, notes)


def _compose(overrides: list[str]) -> DictConfig:
    return compose("config", overrides)


def _explain_all(refusal: Exception, overrides: Sequence[str], folder: Path) -> list[str]:
    """Every error: of the first job, and of the jobs that bring the other swept values, one value of every key at a time."""
    folders = search_folders(folder, overrides)
    values = [each_value(override, folders) for override in overrides]
    errors: dict[str, None] = {}
    for column in range(max(map(len, values))):
        chosen = list(dict.fromkeys(each[min(column, len(each) - 1)] for each in values))
        found = explain_refusal(refusal, chosen, folder, lambda config: check(config)[0])
        errors.update(dict.fromkeys(found))
    fallback = str(refusal).strip().splitlines()[0].rstrip(".")  # what explain_refusal says of a job without an error
    return [error for error in errors if error != fallback] or list(errors)


def _check_jobs(jobs: Iterable[Job]) -> tuple[list[str], list[RunSettings], list[str]]:
    """Every error of any job, each once, the settings of the jobs without one, and what is left out of configs."""
    errors: dict[str, None] = {}
    notes: dict[str, None] = {}
    cells: list[RunSettings] = []
    for job in jobs:
        found, settings = check(job.config)
        errors.update(dict.fromkeys(found))
        notes.update(dict.fromkeys(job.notes))
        cells += [settings] if settings else []
    return list(errors), cells, list(notes)
