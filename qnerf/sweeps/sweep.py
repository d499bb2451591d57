"""`python -m qnerf.run -m …`: a grid of runs that can be broken off at any moment and gone on with by the same command.

Hydra composes and launches the cells (any of its launchers); which cells there are, which of them are left to do, and what came
of them is worked out here, from the run folders and the store, so that it does not matter who has computed what before.
A search (`search.py`) is the same with cells that are chosen one after the other.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from qnerf.common.hashes import digest
from qnerf.sweeps.cells import Grid, lay_out
from qnerf.sweeps.command import COMMAND, FLAGS
from qnerf.sweeps.launch import launch, load_master, require_launcher
from qnerf.sweeps.results import save_results
from qnerf.sweeps.search import search
from qnerf.sweeps.space import is_search
from qnerf.sweeps.table import OK, plan_rows, show_table, sum_up


def sweep(arguments: Sequence[str], configs: Path) -> int:
    """Runs what is left to do of a grid or a search, and writes the results. Exit code 0 where every cell is done, else 1."""
    overrides = [argument for argument in arguments if argument not in FLAGS]
    command = shlex.join([*COMMAND.split(), *arguments])
    # Our launchers' files are complete, so that it makes no difference whether Hydra still matches them with the plugins' schemas.
    warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
    with initialize_config_dir(str(configs), version_base="1.3", job_name="qnerf"):
        loader = GlobalHydra.instance().config_loader()
        master = load_master(loader, overrides)
        require_launcher(master)
        return (search if is_search(master) else _run_grid)(loader, master, overrides, command)


def _run_grid(loader: ConfigLoader, master: DictConfig, overrides: Sequence[str], command: str) -> int:
    """Lays the grid out, shows it, runs what is left to do, and writes the results."""
    grid = lay_out(loader, master)
    settings = grid.cells[0].settings
    rows = plan_rows(grid, settings.sweep.retry_failed)
    print(show_table(rows, list(grid.swept)), flush=True)
    if settings.sweep.dry_run:
        return OK
    folder = sweep_folder(grid)
    try:
        launch(loader, load_master(loader, overrides, folder), [row.cell.overrides for row in rows if row.is_run])
    finally:  # also when it is interrupted: what is done is done
        save_results(folder, grid, command)
    return sum_up(grid, folder)


def sweep_folder(grid: Grid) -> Path:
    """The sweep's own folder, the same for the same grid of runs whichever machine or launcher runs them."""
    experiments = "+".join(sorted({cell.settings.experiment for cell in grid.cells}))
    cells = digest(sorted({cell.identity for cell in grid.cells}))[:8]
    return Path(grid.cells[0].settings.output_dir) / "sweeps" / f"{experiments}-{cells}"
