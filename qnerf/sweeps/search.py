"""`-m hydra/sweeper=optuna`: a search in place of a grid. Optuna proposes cells, which are run, kept and found as a grid's are.

Nothing of the search itself is kept: its draws come from a seed, and its memory is the figures of finished runs. So the same
command proposes the same cells, finds those that are done, and goes on from there; more trials lengthen the same search.

Why not Hydra's own plugin: hydra-optuna-sweeper for Hydra 1.3 needs Optuna below 3 (of 2022), and its later versions need
Hydra 1.4. It would also run done trials again, keep no table, and stop at the first trial that fails.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig

from qnerf.common.hashes import digest
from qnerf.common.installation import install_command
from qnerf.errors import UserError
from qnerf.metrics.registry import show
from qnerf.runs.ending import termination
from qnerf.sweeps.cells import Cell, Grid, cells_of, composer
from qnerf.sweeps.command import SEARCH, SWEEPER
from qnerf.sweeps.done import tell_of_done
from qnerf.sweeps.expand import jobs_at
from qnerf.sweeps.launch import launch, placed
from qnerf.sweeps.objectives import is_lower_better, read_objectives
from qnerf.sweeps.results import save_results
from qnerf.sweeps.settings import SearchSettings
from qnerf.sweeps.space import Choices, Dimension, Point, Space, ends, read_search
from qnerf.sweeps.table import OK, plan_rows, sum_up


@dataclass
class Search:
    """A search under way. cells: those proposed so far, in order. trials: Optuna's side of them."""

    context: HydraContext
    master: DictConfig
    settings: SearchSettings
    fixed: Sequence[str]
    space: Space
    objectives: Sequence[str]
    study: Any
    cells: list[Cell] = field(default_factory=list)
    trials: list[Any] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)  # identities: within one command none is tried again

    def propose(self) -> list[Cell]:
        """The next batch of cells."""
        count = min(self.settings.batch, self.settings.trials - len(self.cells))
        trials = [self.study.ask() for _ in range(count)]
        points = [{key: _suggest(trial, key, dimension) for key, dimension in self.space.items()} for trial in trials]
        cells = self.cells_at(points)
        self.trials += trials
        self.cells += cells
        return cells

    def cells_at(self, points: Sequence[Point]) -> list[Cell]:
        """The cells of some points. Raises one UserError with every error."""
        loader = self.context.config_loader
        return cells_of(jobs_at(self.fixed, points, composer(loader, self.master), loader))

    def to_run(self, batch: Sequence[Cell]) -> list[Cell]:
        """Those cells of a batch that nobody has finished."""
        retry = batch[0].settings.sweep.retry_failed
        rows = plan_rows(Grid(batch, {}), retry)
        return [row.cell for row in rows if row.is_run and row.cell.identity not in self.tried]

    def tell(self, batch: Sequence[Cell]) -> None:
        """Lets Optuna know what came of the last batch, and prints it."""
        states = importlib.import_module("optuna").trial.TrialState
        first = len(self.cells) - len(batch)
        for number, cell in enumerate(batch, start=first):
            values = read_objectives(cell.folder, self.objectives) if cell.state().status == "done" else None
            self.study.tell(self.trials[number], values, state=states.FAIL if values is None else states.COMPLETE)
            print(f"trial {number + 1} of {self.settings.trials}: {_words(cell)}: {self.describe(values)}", flush=True)
        self.tried.update(cell.identity for cell in batch)

    def describe(self, values: Sequence[float] | None) -> str:
        """The figures of a trial, or that there are none."""
        if values is None:
            return "no figures"
        return ", ".join(f"{name} {show(name, value)}" for name, value in zip(self.objectives, values, strict=True))

    def grid(self) -> Grid:
        """The cells so far as a sweep, each once; numbers in order, so that the page's axes are."""
        swept = {}
        for key, dimension in self.space.items():
            name = key.lstrip("+")
            seen = list(dict.fromkeys(cell.swept[name] for cell in self.cells))
            swept[name] = list(dimension.values) if isinstance(dimension, Choices) else sorted(seen, key=float)
        return Grid(list({cell.identity: cell for cell in self.cells}.values()), swept)

    def best(self) -> list[str]:
        """A line for each finished trial that no other beats in every objective."""
        found = [trial.number for trial in self.study.best_trials]
        lines = {_words(self.cells[number]): self.describe(self.study.trials[number].values) for number in found}
        return [f"  {words}: {figures}" for words, figures in lines.items()]


def search(context: HydraContext, master: DictConfig, command: str) -> int:
    """Proposes, runs and reports until all trials are done. Exit code 0 where every one is, else 1."""
    optuna = require_optuna()
    settings, fixed, space = read_search(master, master.hydra.overrides.task)
    loader = context.config_loader
    corners = cells_of(jobs_at(fixed, ends(space), composer(loader, master), loader), told=True)  # every error before it starts
    sweep = corners[0].settings.sweep
    folder = search_folder(corners[0], settings, space)
    study = make_study(optuna, settings, sweep.objectives)
    under_way = Search(context, placed(master, folder), settings, fixed, space, sweep.objectives, study)
    print(f"{settings.trials} trials over {_listed(space)}, to improve {' and '.join(sweep.objectives)}.", flush=True)
    while len(under_way.cells) < settings.trials:
        batch = under_way.propose()
        left = under_way.to_run(batch)
        if left and sweep.dry_run:
            print(f"{len(under_way.cells) - len(batch)} trials are done; next: {'; '.join(map(_words, left))}", flush=True)
            return OK
        try:
            save_results(folder, under_way.grid(), command)  # cells read there where they stand
            with termination():
                launch(context, under_way.master, [cell.overrides for cell in left])
                tell_of_done(batch, folder)
        finally:  # also when it is interrupted: what is done is done
            save_results(folder, under_way.grid(), command)
        under_way.tell(batch)
    print("\n".join(["The best trials (no other is better in every objective):", *under_way.best()]), flush=True)
    return sum_up(under_way.grid(), folder)


def require_optuna() -> Any:
    """The package. Raises UserError where it is not installed."""
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise UserError(
            f"{SWEEPER}={SEARCH} needs a package that is not installed: {install_command('optuna')}, "
            "or give lists of values instead"
        ) from None


def make_study(optuna: Any, settings: SearchSettings, objectives: Sequence[str]) -> Any:
    """An Optuna study in memory, of seeded draws."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = optuna.samplers
    if settings.sampler == "tpe":
        sampler = samplers.TPESampler(seed=settings.seed, n_startup_trials=settings.startup)
    else:
        sampler = samplers.RandomSampler(seed=settings.seed)
    directions = ["minimize" if is_lower_better(name) else "maximize" for name in objectives]
    return optuna.create_study(sampler=sampler, directions=directions)


def search_folder(corner: Cell, settings: SearchSettings, space: Space) -> Path:
    """The search's own folder: the same for the same search however many trials it is given."""
    parts = [corner.identity, {key: str(dimension) for key, dimension in space.items()}, list(corner.settings.sweep.objectives)]
    name = digest([*parts, settings.model_dump(mode="json", exclude={"trials", "params"})])[:8]
    return Path(corner.settings.output_dir) / "sweeps" / f"{corner.settings.experiment}-{name}"


def _suggest(trial: Any, key: str, dimension: Dimension) -> str:
    """A value of a trial, as on a command line."""
    if isinstance(dimension, Choices):
        return trial.suggest_categorical(key, list(dimension.values))
    if dimension.whole:
        return str(trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log))
    return dimension.text(trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log))


def _listed(space: Space) -> str:
    return "; ".join(f"{key.lstrip('+')}: {dimension}" for key, dimension in space.items())


def _words(cell: Cell) -> str:
    return " ".join(f"{key}={value}" for key, value in cell.swept.items())
