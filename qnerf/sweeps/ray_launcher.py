"""Hydra's launcher for Ray (https://docs.ray.io): a cell is a task, which starts once its cores and GPUs are free.

Why not Hydra's own plugin: hydra-ray-launcher needs cloudpickle below 3 and joblib 3 or later, so their extras could not be
installed together. It also brings the client of a cloud provider, for a second launcher that nothing here uses.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class RayLauncher(Launcher):
    """ray: the arguments of `ray.init` under `init`, and those of `ray.remote` under `remote` (conf/hydra/launcher/ray.yaml)."""

    def __init__(self, ray: Mapping[str, Any]) -> None:
        self.init, self.remote = ray["init"], ray["remote"]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What came of every job, in order. Raises Ray's error where a worker died; the other jobs have then come to their end."""
        ray: Any = importlib.import_module("ray")
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if not ray.is_initialized():
            ray.init(**self.init)
        task, state = ray.remote(**self.remote)(_run), Singleton.get_state()
        running = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id, config.hydra.job.num = f"qnerf_{number}", number
            running.append(task.remote(self.context, config, self.function, state))
        ray.wait(running, num_returns=len(running))
        return ray.get(running)


def _run(context: HydraContext, config: DictConfig, function: TaskFunction, state: Any) -> JobReturn:
    """One job, in a worker."""
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    return run_job(function, config, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=context)
