"""Settings of a sweep (`-m`): how the same command goes on after a break, and what a search is after. They change no result."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from qnerf.metrics.registry import objectives
from qnerf.runs.messages import sentence
from qnerf.settings import Settings


class SweepSettings(Settings):
    """retry_failed: run cells again that failed earlier. dry_run: show what would be run, and stop.

    objectives: the figures that a search (`hydra/sweeper=optuna`) makes better; of several, it looks for the Pareto front.
    """

    retry_failed: bool = True
    dry_run: bool = False
    objectives: tuple[str, ...] = Field(default=("consistency_moved", "psnr_object"), min_length=1)

    @field_validator("objectives")
    @classmethod
    def _have_a_better_end(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in objectives():
                raise ValueError(sentence(name, "no figure that can be better or worse", name, objectives()))
        return names


class SearchSettings(Settings):
    """Of `hydra/sweeper=optuna`. trials: runs in all. batch: trials asked for and launched together, before any of them is known.

    sampler: `tpe` learns from earlier trials (tree-structured Parzen estimators, Bergstra et al. 2011; for several objectives
    Ozaki et al. 2022), `random` does not. startup: trials drawn at random before it learns. seed: of its draws. params: the space
    that an experiment brings, by key.
    """

    trials: int = Field(ge=1)
    batch: int = Field(ge=1)
    sampler: Literal["tpe", "random"]
    startup: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)
    params: dict[str, Any] | None
