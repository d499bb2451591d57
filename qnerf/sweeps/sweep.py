"""`python -m qnerf.run -m …`: a grid of runs that can be broken off at any moment and gone on with by the same command.

Hydra composes and launches the cells (any of its launchers); which cells there are, which of them are left to do, and what came
of them is worked out here, from the run folders and the store, so that it does not matter who has computed what before.
A search (`search.py`) is the same with cells that are chosen one after the other.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from pathlib import Path

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from qnerf.common.hashes import digest
from qnerf.common.messages import command_line
from qnerf.runs.ending import termination
from qnerf.scenes.on_demand import nothing_kept
from qnerf.sweeps.cells import Grid, lay_out
from qnerf.sweeps.command import COMMAND, FLAGS, UNMATCHED
from qnerf.sweeps.done import tell_of_done
from qnerf.sweeps.launch import launch, placed, require_launcher
from qnerf.sweeps.results import save_results
from qnerf.sweeps.search import search
from qnerf.sweeps.space import is_search
from qnerf.sweeps.table import OK, plan_rows, show_table, sum_up


def sweep(context: HydraContext, master: DictConfig) -> int:
    """Runs what is left to do of a grid or a search, and writes the results. Exit code 0 where every cell is done, else 1.

    master: the config of the whole command, with its `hydra` node, as Hydra hands it to a sweeper.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=UNMATCHED)
        require_launcher(master)
        # A dry run writes nothing. Any other value than false is read with the cells' settings, which need the scenes' hashes.
        is_dry = OmegaConf.select(master, "sweep.dry_run") not in (False, None)
        with nothing_kept() if is_dry else nullcontext():
            return (search if is_search(master) else _run_grid)(context, master, command_of(master))


def command_of(master: DictConfig) -> str:
    """The command line that makes this sweep again: Hydra's own overrides first, then the run's."""
    overrides, name = OmegaConf.to_container(master.hydra.overrides), master.hydra.job.config_name
    assert isinstance(overrides, dict)
    chosen = [] if name == "config" else ["--config-name", name]
    of_hydra = [each for each in overrides["hydra"] if not each.startswith("hydra.mode=")]
    return command_line([*COMMAND.split(), FLAGS[0], *chosen, *of_hydra, *overrides["task"]])


def _run_grid(context: HydraContext, master: DictConfig, command: str) -> int:
    """Lays the grid out, shows it, runs what is left to do, and writes the results."""
    grid = lay_out(context.config_loader, master)
    settings = grid.cells[0].settings
    rows = plan_rows(grid, settings.sweep.retry_failed)
    print(show_table(rows, list(grid.swept)), flush=True)
    if settings.sweep.dry_run:
        return OK
    folder = sweep_folder(grid)
    jobs = [row.cell.overrides for row in rows if row.is_run]
    try:
        save_results(folder, grid, command)  # before the first cell is done too: for `qnerf watch`, and for the cells' own words
        with termination():
            launch(context, placed(master, folder), jobs)
            tell_of_done(grid.cells, folder)
    finally:  # also when it is interrupted: what is done is done
        save_results(folder, grid, command)
    return sum_up(grid, folder)


def sweep_folder(grid: Grid) -> Path:
    """The sweep's own folder, the same for the same grid of runs whichever machine or launcher runs them."""
    experiments = "+".join(sorted({cell.settings.experiment for cell in grid.cells}))
    cells = digest(sorted({cell.identity for cell in grid.cells}))[:8]
    return Path(grid.cells[0].settings.output_dir) / "sweeps" / f"{experiments}-{cells}"
