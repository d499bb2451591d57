"""The cells of a sweep: what each would run, under which identity, and how far it has come. Nothing heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, open_dict, read_write

from qnerf.config import RunSettings, check
from qnerf.errors import UserError
from qnerf.runs.folder import RunState, state_of
from qnerf.runs.identity import read_inputs, run_folder, store_folder
from qnerf.runs.stages import Stages
from qnerf.store.key import has_artefact
from qnerf.sweeps.expand import Compose, Job, Swept, expand, sweep_params


@dataclass(frozen=True)
class Cell:
    """One run of a sweep. overrides: all of its command line. swept: those that differ between cells, key by key."""

    overrides: tuple[str, ...]
    swept: Mapping[str, str]
    settings: RunSettings
    identity: str
    stages: Stages

    @property
    def folder(self) -> Path:
        """Where it lands."""
        return run_folder(self.settings, self.identity)

    def state(self) -> RunState:
        """Where it stands, as its folder tells."""
        return state_of(self.folder)

    def progress(self) -> str:
        """How many of its stages the store has already, and at which interval its unfinished edits stand."""
        root = store_folder(self.settings)
        ready = [has_artefact(root, key) for key in self.stages.all()]
        words = [f"{sum(ready)} of {len(ready)} stages ready"]
        for name, method in self.settings.methods().items():
            intervals = [has_artefact(root, key) for key in self.stages.intervals(method)]
            if any(intervals) and not has_artefact(root, self.stages.edit(method)):
                words.append(f"{name} at interval {sum(intervals)} of {len(intervals) + 1}")
        return ", ".join(words)


@dataclass(frozen=True)
class Grid:
    """A sweep laid out. swept: the keys that are swept and their values, as on the command line."""

    cells: Sequence[Cell]
    swept: Swept


def lay_out(loader: ConfigLoader, master: DictConfig) -> Grid:
    """Every cell of a sweep in Hydra's order. Raises one UserError with a line for every error of any cell."""
    given = [*sweep_params(master), *master.hydra.overrides.task]
    swept, jobs = expand(given, composer(loader, master), loader)
    return Grid(cells_of(jobs, told=True), swept)


def cells_of(jobs: Iterable[Job], told: bool = False) -> list[Cell]:
    """The cells of some jobs. told: prints what was left out of their configs. Raises one UserError with a line for every error of
    any job."""
    errors: list[str] = []
    found = list(jobs)
    cells = [cell for job in found for cell in _cell(job, errors)]
    for note in dict.fromkeys(note for job in found for note in job.notes if told):
        print(f"qnerf: {note}", file=sys.stderr)
    if errors:
        raise UserError("\n".join(dict.fromkeys(errors)))
    return cells


def composer(loader: ConfigLoader, master: DictConfig) -> Compose:
    """Composes a cell's config from its overrides, as Hydra's launchers will."""
    return lambda overrides: without_hydra(loader.load_sweep_config(master, overrides))


def _cell(job: Job, errors: list[str]) -> Iterator[Cell]:
    """The cell of one job, or its errors."""
    found, settings = check(job.config)
    if settings is None:
        errors += found
        return
    try:
        stages = Stages(settings, read_inputs(settings))
    except UserError as error:
        errors += str(error).splitlines()
        return
    yield Cell(job.overrides, job.swept, settings, stages.identity(), stages)


def without_hydra(config: DictConfig) -> DictConfig:
    """The run's own part of a composed config."""
    with read_write(config), open_dict(config):
        del config["hydra"]
    return config
