"""Jobs handed to Hydra's launchers, whichever is chosen."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict, read_write

from qnerf.common.installation import install_command
from qnerf.errors import UserError
from qnerf.sweeps.cell import run_cell


def placed(master: DictConfig, folder: Path) -> DictConfig:
    """The config that all cells come from, with the sweep's own folder, which each cell then knows as `hydra.sweep.dir`."""
    config = copy.deepcopy(master)
    with read_write(config), open_dict(config):
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")
        config.hydra.sweep.dir = str(folder)
    return config


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever signs it holds."""
    return "'" + str(path).replace("'", r"\'") + "'"


def require_launcher(master: DictConfig) -> None:
    """Raises UserError where the launcher's package is not installed."""
    choice, target = master.hydra.runtime.choices["hydra/launcher"], master.hydra.launcher["_target_"]
    if not _is_there("ray" if target.startswith("qnerf.") else ".".join(target.split(".")[:2])):
        raise UserError(
            f"hydra/launcher={choice} needs a package that is not installed: {install_command(choice.split('_')[0])}, "
            "or leave it out to run the cells one after another"
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in, as where no plugin of Hydra's is installed
        return False


def _launcher(context: HydraContext, master: DictConfig) -> Launcher:
    """The chosen launcher, set up. Hydra's plugins are its own to make; it takes none from other packages, such as ours."""
    if not master.hydra.launcher["_target_"].startswith("qnerf."):
        return Plugins.instance().instantiate_launcher(hydra_context=context, task_function=run_cell, config=master)
    launcher = instantiate(master.hydra.launcher, _convert_="all")
    launcher.setup(hydra_context=context, task_function=run_cell, config=master)
    return launcher


def launch(context: HydraContext, master: DictConfig, jobs: Sequence[Sequence[str]]) -> None:
    """Runs the jobs, each a cell's overrides. A launcher that fails as a whole (a killed worker, say) leaves the other cells'
    results whole."""
    if not jobs:
        return
    launcher = _launcher(context, master)
    try:
        for job in launcher.launch([list(job) for job in jobs], initial_job_idx=0):
            _ = job.return_value  # raises what went wrong round a cell
    except UserError:
        raise
    except Exception as error:  # of the launcher: a cell's own failures are told and noted by the cell
        print(f"qnerf: the launcher failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
