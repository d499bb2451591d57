"""`python -m qnerf.run -m …`: a grid of runs that can be broken off at any moment and gone on with by the same command.

Hydra composes and launches the cells (any of its launchers); which cells there are, which of them are left to do, and what came
of them is worked out here, from the run folders and the store, so that it does not matter who has computed what before.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from qnerf.errors import UserError, explain_os_error
from qnerf.runs.identity import digest
from qnerf.sweeps.cell import run_cell
from qnerf.sweeps.cells import Grid, lay_out
from qnerf.sweeps.command import COMMAND, FLAGS
from qnerf.sweeps.results import RESULTS, write_results
from qnerf.sweeps.table import Row, plan_rows, show_table

OK, CELLS_MISSING = 0, 1


def sweep(arguments: Sequence[str], configs: Path) -> int:
    """Lays the grid out, shows it, runs what is left to do, and writes the results. Exit code 0 where every cell is done."""
    overrides = [argument for argument in arguments if argument not in FLAGS]
    command = shlex.join([*COMMAND.split(), *arguments])
    # Our launchers' files are complete, so that it makes no difference whether Hydra still matches them with the plugins' schemas.
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
    with initialize_config_dir(str(configs), version_base="1.3", job_name="qnerf"):
        loader = GlobalHydra.instance().config_loader()
        master = _master(loader, overrides)
        require_launcher(master)
        grid = lay_out(loader, master)
        settings = grid.cells[0].settings
        rows = plan_rows(grid, settings.sweep.retry_failed)
        print(show_table(rows, list(grid.swept)), flush=True)
        if settings.sweep.dry_run:
            return OK
        folder = sweep_folder(grid)
        try:
            _launch(loader, _master(loader, [*overrides, f"hydra.sweep.dir={quoted(folder)}"]), rows)
        finally:  # also when it is interrupted: what is done is done
            _write(folder, grid, command)
    return _sum_up(grid, folder)


def require_launcher(master: DictConfig) -> None:
    """Raises UserError where the launcher's package is not installed."""
    choice, target = master.hydra.runtime.choices["hydra/launcher"], master.hydra.launcher["_target_"]
    if find_spec(".".join(target.split(".")[:2])) is None:
        extra = choice.split("_")[0]
        raise UserError(
            f"hydra/launcher={choice} needs a package that is not installed: pip install 'qnerf[{extra}]', "
            "or leave it out to run the cells one after the other"
        )


def sweep_folder(grid: Grid) -> Path:
    """The sweep's own folder, the same for the same grid of runs whichever machine or launcher runs them."""
    experiments = "+".join(sorted({cell.settings.experiment for cell in grid.cells}))
    cells = digest(sorted({cell.identity for cell in grid.cells}))[:8]
    return Path(grid.cells[0].settings.output_dir) / "sweeps" / f"{experiments}-{cells}"


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever signs it holds."""
    return "'" + str(path).replace("'", r"\'") + "'"


def _master(loader: ConfigLoader, overrides: list[str]) -> DictConfig:
    return loader.load_configuration("config", overrides, run_mode=RunMode.MULTIRUN)


def _launch(loader: ConfigLoader, master: DictConfig, rows: Sequence[Row]) -> None:
    """Runs what is left to do. A launcher that fails as a whole (a killed worker, say) leaves the other cells' results whole."""
    jobs = [list(row.cell.overrides) for row in rows if row.is_run]
    if not jobs:
        return
    context = HydraContext(config_loader=loader, callbacks=Callbacks(master))
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=run_cell, config=master)
    try:
        for job in launcher.launch(jobs, initial_job_idx=0):
            _ = job.return_value  # raises what went wrong round a cell
    except UserError:
        raise
    except Exception as error:  # of the launcher: a cell's own failures are told and noted by the cell
        print(f"qnerf: the launcher gave up: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _write(folder: Path, grid: Grid, command: str) -> None:
    try:
        write_results(folder, grid, command, COMMAND)
    except OSError as error:
        raise UserError(explain_os_error(error) or f"{folder}: the results cannot be written ({error.strerror})") from error


def _sum_up(grid: Grid, folder: Path) -> int:
    states = {cell.identity: cell.state() for cell in grid.cells}
    missing = [cell for cell in grid.cells if states[cell.identity].status != "done"]
    print(f"{len(grid.cells) - len(missing)} of {len(grid.cells)} cells are done: {folder / RESULTS}", flush=True)
    for cell in missing:
        state = states[cell.identity]
        print(f"qnerf: {state.status}: {' '.join(cell.overrides)}: {state.reason or 'the same command goes on'}", file=sys.stderr)
    return CELLS_MISSING if missing else OK
