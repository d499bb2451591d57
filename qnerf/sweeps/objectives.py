"""The objectives of a search: figures of a run's metrics.json that can be better or worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import DamagedFile, read_json
from qnerf.errors import UserError
from qnerf.metrics.registry import metric_of


def is_lower_better(name: str) -> bool:
    """The direction of a figure."""
    return metric_of(name).better == "lower"


def read_objectives(folder: Path, names: Sequence[str]) -> tuple[float, ...]:
    """The figures of a finished run. Raises UserError where it did not measure one, or the file is damaged."""
    try:
        figures = read_json(folder / "metrics.json")
    except DamagedFile as error:
        raise UserError(str(error)) from None
    missing = [name for name in names if not isinstance(found := figures.get(name), int | float) or not math.isfinite(found)]
    if missing:
        raise UserError(
            f"sweep.objectives: {folder}/metrics.json has no {', '.join(missing)}; choose a figure that "
            "exists for this scene, or measure it with metrics.groups=[…]"
        )
    return tuple(float(figures[name]) for name in names)


def value_for_hydra(folder: Path, names: Sequence[str]) -> float | tuple[float, ...] | None:
    """What Hydra's own sweepers want of a run: a number, or one for each of several objectives. None where one is missing."""
    try:
        values = read_objectives(folder, names)
    except UserError:
        return None
    return values[0] if len(values) == 1 else values
