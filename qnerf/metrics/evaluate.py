"""All available figures of one edit, under the names of `metrics.json` and in the order of
`comparison.csv`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from qnerf.errors import UserError
from qnerf.metrics.registry import Metric, group_reads, groups, registered
from qnerf.scenes.scene import Scene, Truth

Show = Callable[[int, Tensor], None]
"""Takes a picture (3, H, W) in [0, 1] that a metric compares with the edited view of this index."""


def unseen(view: int, picture: Tensor) -> None:
    """Nobody looks."""


@dataclass(frozen=True)
class Edited:
    """What metrics measure. images: (N, 3, H, W) edited views in [0, 1]. settings: those that the group's metrics declare as
    `reads`, by key. field_depth: (N, rows, columns) expected depth of the last query field, world units, if there is one. show:
    takes pictures for the run's page."""

    images: Tensor
    scene: Scene
    settings: Mapping[str, Any]
    field_depth: Tensor | None = None
    show: Show = unseen

    @property
    def truth(self) -> Truth:
        """The scene's; only for metrics that need it."""
        assert self.scene.truth is not None
        return self.scene.truth

    def has(self, metric: Metric) -> bool:
        """Whether all is there that a metric needs."""
        truth = self.scene.truth
        there = {
            "truth": truth is not None,
            "plates": truth is not None and truth.plates is not None,
            "query field": self.field_depth is not None,
            "held-out views": self.scene.posed,
        }
        return all(there.get(need, True) for need in metric.needs)


def evaluate_group(
    group: str, images: Tensor, scene: Scene, settings: BaseModel, field_depth: Tensor | None = None, show: Show = unseen
) -> dict[str, float]:
    """One registered group of figures of edited views (N, 3, H, W) in [0, 1], without those that do not exist for this scene.

    settings: the run's. field_depth, show: as in `Edited`. Raises UserError for a figure that is infinite, or that nobody
    registered.
    """
    edited = Edited(images, scene, {key: setting(settings, key) for key in group_reads(group)}, field_depth, show)
    metrics = groups()[group]
    compute = metrics[0].compute
    wanted = [metric.name for metric in metrics if edited.has(metric)]
    if compute is None or not wanted:
        return {}
    found = compute(edited)
    if unknown := sorted(found.keys() - {metric.name for metric in metrics}):
        raise UserError(
            f"{compute.__module__} computes {', '.join(unknown)}, but these are not in its METRICS: add a record for each"
        )
    return in_order({name: found[name] for name in wanted if name in found})


def in_order(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures that exist (NaN says that one does not) in the order of tables. Raises UserError for one that is infinite."""
    found = {name: figures[name] for name in registered() if name in figures and not math.isnan(figures[name])}
    if infinite := [name for name, value in found.items() if math.isinf(value)]:
        raise UserError(
            f"metrics: {', '.join(infinite)} is infinite; expected a finite number, or NaN where the figure does not exist"
        )
    return found


def setting(settings: BaseModel, key: str) -> Any:
    """The value under a dotted key. Raises UserError where there is none."""
    try:
        return reduce(getattr, key.split("."), settings)
    except AttributeError:
        raise UserError(f"a metric reads the setting {key!r}, which does not exist: correct `reads` in its record") from None
