"""Settings of a search (`-m hydra/sweeper=optuna`). They change no result."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from qnerf.settings import Settings


class SearchSettings(Settings):
    """Of `hydra/sweeper=optuna`. trials: number of runs. batch: trials that are launched together.

    sampler: `tpe` learns from earlier trials (tree-structured Parzen estimators, Bergstra et al. 2011; for
    several objectives Ozaki et al. 2022), `random` does not. startup: random trials before it starts to
    learn. seed: of the sampler. params: the search space of an experiment, by key.
    """

    trials: int = Field(ge=1)
    batch: int = Field(ge=1)
    sampler: Literal["tpe", "random"]
    startup: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)
    params: dict[str, Any] | None
