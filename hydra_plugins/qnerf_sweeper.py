"""Hydra's plugin for qnerf's sweeps (`hydra/sweeper=qnerf`, the default, and `hydra/sweeper=optuna`).

Hydra only takes plugins from packages below `hydra_plugins`, and imports this module in every process that composes a config, so
that it imports nothing of qnerf before a sweep starts. The sweep itself is qnerf/sweeps/sweep.py.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class QnerfSweeper(Sweeper):
    """A grid, or a search with the settings of conf/hydra/sweeper/optuna.yaml. settings: read from the config, where the sweep
    needs them."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        """Runs what is left to do. Leaves the process with exit code 1 where a cell is not done: Hydra has no other way out."""
        from qnerf.sweeps.sweep import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        if code := sweep(self.hydra_context, self.config):
            raise SystemExit(code)
