"""The registry of metrics: what every figure is called, needs and means. All tables, pages, stages and objectives derive from it.

A metric is one file, `qnerf/metrics/groups/x.py`, with its record in `METRICS` and the function that computes it; a config in
conf/metrics/ names its group. Nothing else lists it. Installed packages add theirs as entry points of the group `qnerf.metrics`,
each naming such a tuple:

    [project.entry-points."qnerf.metrics"]
    sharpness = "my_package.sharpness:METRICS"

Metrics of one group share one `compute`, so that figures that come from one computation are computed once. Records are read before
torch is imported, so the modules of this folder import it inside functions.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import qnerf.metrics.groups
from qnerf.common.plugins import installed
from qnerf.errors import UserError

if TYPE_CHECKING:
    from qnerf.metrics.evaluate import Edited

Need = Literal["truth", "plates", "held-out views", "query field", "inversion"]
Compute = Callable[["Edited"], Mapping[str, float]]

ENTRY_POINTS = "qnerf.metrics"
FLOOR, CEILING = "_floor", "_ceiling"
"""End the name of a figure of the true views: the best value of the figure without that ending."""
LAST = 1000


@dataclass(frozen=True)
class Metric:
    """One figure of an edit.

    group: what is computed, kept and chosen together (`metrics.groups`). needs: what the figure does not exist without. better:
    None for a figure that is read beside others, or against which others are. source: paper and section, or "ours". compute: the
    figures of the whole group by name, NaN for one that does not exist; None where the run itself has it (`group` is no choice).

    label: a few words. digits: after the point. place: in tables, ascending, then by name. headline: its rank among the figures
    that are shown first; 0: it is none. gain: how the benchmark tells that one edit is better than another: in the figure's own
    unit, or as the share that is gone of what is above the floor. reads: the settings that the value depends on, by their keys
    ("metrics.heldout_every"): `compute` sees no other, and they are part of the figures' identity. always: measured whatever
    `metrics.groups` says.
    """

    name: str
    group: str
    needs: tuple[Need, ...]
    unit: str
    better: Literal["higher", "lower"] | None
    explanation: str
    source: str
    compute: Compute | None
    label: str
    digits: int = 4
    place: int = LAST
    headline: int = 0
    gain: Literal["difference", "share"] = "difference"
    reads: tuple[str, ...] = ()
    always: bool = False

    @property
    def is_bound(self) -> bool:
        """Whether it is a figure of the true views, against which another figure is read."""
        return self.name.endswith((FLOOR, CEILING))


@cache
def registered() -> dict[str, Metric]:
    """Every metric by name, in the order of tables: the package's own and those of installed packages.

    Raises UserError where two have one name, a group has several functions, or an entry point gives no metrics.
    """
    found: list[tuple[str, Metric]] = []
    for module in sorted(info.name for info in pkgutil.iter_modules(qnerf.metrics.groups.__path__)):
        name = f"{qnerf.metrics.groups.__name__}.{module}"
        found += [(name, metric) for metric in importlib.import_module(name).METRICS]
    for where, metrics in installed(ENTRY_POINTS, f"a tuple of {Metric.__module__}.{Metric.__qualname__}", _are_metrics):
        found += [(where, metric) for metric in metrics]
    return checked(found)


def checked(found: list[tuple[str, Metric]]) -> dict[str, Metric]:
    """Metrics with where each is from, in the order of tables. Raises UserError for a clash of names or of a group's functions."""
    by_name: dict[str, tuple[str, Metric]] = {}
    groups: dict[str, tuple[str, Compute | None]] = {}
    for where, metric in found:
        if metric.name in by_name:
            raise UserError(
                f"two metrics are named {metric.name!r}, in {by_name[metric.name][0]} and in {where}; "
                "expected different names: rename or uninstall one"
            )
        by_name[metric.name] = where, metric
        other, compute = groups.setdefault(metric.group, (where, metric.compute))
        if compute is not metric.compute:
            raise UserError(
                f"two functions compute the group of metrics {metric.group!r}, in {other} and in {where}; "
                "expected one function per group: rename one of the groups"
            )
    ordered = sorted((metric for _, metric in by_name.values()), key=lambda metric: (metric.place, metric.name))
    return {metric.name: metric for metric in ordered}


def groups() -> dict[str, tuple[Metric, ...]]:
    """The groups that can be measured, and their metrics."""
    found: dict[str, tuple[Metric, ...]] = {}
    for metric in registered().values():
        if metric.compute is not None:
            found[metric.group] = (*found.get(metric.group, ()), metric)
    return found


def chosen_groups() -> list[str]:
    """The groups among which `metrics.groups` chooses."""
    return [group for group, metrics in groups().items() if not any(metric.always for metric in metrics)]


def group_reads(group: str) -> list[str]:
    """The keys of the settings that the figures of a group depend on."""
    return sorted({key for metric in groups()[group] for key in metric.reads})


def group_module(group: str) -> str:
    """The module whose code computes a group."""
    compute = groups()[group][0].compute
    assert compute is not None
    return compute.__module__


def metric_of(name: str) -> Metric:
    """The record of a metric; one that is not registered is shown under its own name."""
    unknown = Metric(name, "", (), "", None, "", "", None, label=name.replace("_", " "))
    return registered().get(name, unknown)


def show(name: str, value: float | None) -> str:
    """A figure, rounded to its digits, with its unit."""
    metric = metric_of(name)
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{metric.digits}f}{' ' + metric.unit if metric.unit else ''}"


def headlines() -> list[str]:
    """The figures that are shown first, in order."""
    return [metric.name for metric in sorted(registered().values(), key=lambda metric: metric.headline) if metric.headline]


def leading(*names: str) -> list[str]:
    """The figures of some groups that can be better or worse, group by group, headlines first."""
    found = [metric for metric in registered().values() if metric.group in names and metric.better]
    found.sort(key=lambda metric: (names.index(metric.group), metric.headline or LAST))
    return [metric.name for metric in found]


def shown_first() -> list[str]:
    """All figures in the order of reports: the headlines, then the rest in the order of tables, each with its floor or ceiling
    right after it."""
    known = registered()
    names = dict.fromkeys([*headlines(), *known])
    return list(dict.fromkeys(bound for name in names for bound in (name, name + FLOOR, name + CEILING) if bound in known))


def title_of(name: str) -> str:
    """A figure's label where it stands alone: that of a floor, "… of the true views (floor)", with what it is a floor of."""
    label, base = metric_of(name).label, name.removesuffix(FLOOR).removesuffix(CEILING)
    return f"{metric_of(base).label}{label.removeprefix('…')}" if label.startswith("…") else label


def objectives() -> list[str]:
    """The figures that can be better or worse."""
    return [metric.name for metric in registered().values() if metric.better]


def _are_metrics(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(item, Metric) for item in value)
