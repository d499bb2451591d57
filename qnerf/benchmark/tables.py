"""The benchmark's tables: figures of every method, gains over the other methods, gains by grade of
control."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from qnerf.benchmark.cells import BenchmarkCell
from qnerf.config import MAIN_METHOD
from qnerf.metrics.registry import metric_of, registered
from qnerf.reports.bootstrap import Interval, mean_interval, ratio_interval
from qnerf.scenes.settings import Detail

METHODS = (
    "source", "controlnet", "independent", "one_shot", "hard", "mixed", "paper", "queries_only", MAIN_METHOD, "oracle",
)  # fmt: skip
METRICS = tuple(name for name, metric in registered().items() if not metric.is_bound)
ERRORS = tuple(name for name in METRICS if metric_of(name).gain == "share")  # errors: a gain is the share removed
WARP_ERRORS = tuple(name for name in ERRORS if metric_of(name).better)
ERROR_PARTS = tuple(name for name in ERRORS if not metric_of(name).better)  # two parts of one error
MEANS = "means"  # the one table of figures themselves; all others are of gains
AS_DECODED = "_as_decoded"  # ends the name of a table of the model's own pictures
LOOSENESS: tuple[Detail, ...] = ("bones", "joints", "ends", "loose_depth", "box")  # from tight to loose


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, and an estimate per column."""

    name: str
    estimates: dict[str, Interval]


def methods_of(cells: Sequence[BenchmarkCell]) -> list[str]:
    """Those that every cell has, in a fixed order."""
    common = set.intersection(*(set(cell.figures) for cell in cells)) if cells else set[str]()
    return [*(m for m in METHODS if m in common), *sorted(common - set(METHODS))]


def metrics_of(cells: Sequence[BenchmarkCell], methods: Sequence[str]) -> list[str]:
    return [metric for metric in METRICS if all(metric in cell.figures[method] for cell in cells for method in methods)]


def means(cells: Sequence[BenchmarkCell]) -> list[Row]:
    """Every method's mean figures."""
    methods, scenes = methods_of(cells), [cell.scene for cell in cells]
    return [
        Row(m, {k: mean_interval([cell.figures[m][k] for cell in cells], scenes) for k in metrics_of(cells, methods)})
        for m in methods
    ]


def gain(cells: Sequence[BenchmarkCell], method: str, other: str, metric: str) -> Interval:
    """How much better `method` is than another one, over the cells: a difference in the figure's own unit,
    and for errors the share removed of what is above the floor; none where nothing is above it."""
    scenes = [cell.scene for cell in cells]
    if metric in ERRORS:
        before, after = ([cell.excess(name, metric) for cell in cells] for name in (other, method))
        return ratio_interval([b - a for b, a in zip(before, after, strict=True)], before, scenes)
    return mean_interval([cell.figures[method][metric] - cell.figures[other][metric] for cell in cells], scenes)


def over(cells: Sequence[BenchmarkCell], method: str = MAIN_METHOD, other: str = "independent") -> dict[str, Interval]:
    """The `gain` in every metric."""
    return {metric: gain(cells, method, other, metric) for metric in metrics_of(cells, methods_of(cells))}


def gains(cells: Sequence[BenchmarkCell], method: str = MAIN_METHOD) -> list[Row]:
    """What one method gains over each other one."""
    return [Row(other, over(cells, method, other)) for other in methods_of(cells) if other != method]


def over_independent(cells: Sequence[BenchmarkCell]) -> list[Row]:
    """What each method gains over the independent edit."""
    return [Row(method, over(cells, method)) for method in methods_of(cells) if method != "independent"]


def shares_of_oracle(cells: Sequence[BenchmarkCell]) -> list[Row]:
    """How much of the oracle's gain over the independent edit each method reaches; more than 1 is possible
    for a warp error.

    of_agreement: the gain in PSNR of the surface, as a share of the gain if every independent view showed the
    mean over views at each point (`qnerf.metrics.error_split`).
    """
    scenes, methods = [cell.scene for cell in cells], methods_of(cells)
    if "oracle" not in methods:
        return []

    def gained(name: str, metric: str) -> list[float]:
        sign = -1 if metric in WARP_ERRORS else 1
        return [sign * (cell.figures[name][metric] - cell.figures["independent"][metric]) for cell in cells]

    def shares(name: str) -> dict[str, Interval]:
        metrics = ("psnr_object", "warp_error_moved")
        found = {metric: ratio_interval(gained(name, metric), gained("oracle", metric), scenes) for metric in metrics}
        if not all("error_about_mean" in cell.figures[m] for cell in cells for m in ("independent", name)):
            return found
        reached = [surface_psnr(cell, name) - surface_psnr(cell, "independent") for cell in cells]
        ceiling = [surface_psnr(cell, "independent", agreed=True) - surface_psnr(cell, "independent") for cell in cells]
        return found | {"of_agreement": ratio_interval(reached, ceiling, scenes)}

    return [Row(m, shares(m)) for m in methods if m not in ("source", "controlnet", "independent", "oracle")]


def surface_psnr(cell: BenchmarkCell, method: str, agreed: bool = False) -> float:
    """PSNR, dB, over the points of the true edited surface; agreed: if every view showed the mean over
    views."""
    figures = cell.figures[method]
    return -10 * math.log10(max(figures["error_of_mean"] + (0.0 if agreed else figures["error_about_mean"]), 1e-10))


def over_looseness(cells: Sequence[BenchmarkCell]) -> list[Row]:
    """What the main method gains over the independent edit by grade of control, tight to loose."""
    found = []
    for detail in LOOSENESS:
        some = [cell for cell in cells if cell.detail == detail]
        if some:
            found.append(Row(detail, over(some)))
    return found


def is_of_means(table: str) -> bool:
    """Whether a table of this name is of figures themselves."""
    return table.removesuffix(AS_DECODED) == MEANS


def to_csv(tables: dict[str, list[Row]]) -> str:
    """All estimates in long form."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "row", "metric", "value", "low", "high", "scenes"])
    for table, rows in tables.items():
        for row in rows:
            for metric, found in row.estimates.items():
                numbers = (f"{value:.6g}" for value in (found.value, found.low, found.high))
                writer.writerow([table, row.name, metric, *numbers, found.count])
    return buffer.getvalue()


def to_markdown(rows: Sequence[Row], first: str) -> str:
    """One table; estimates as value [low, high]."""
    metrics = list(rows[0].estimates)
    lines = [f"| {first} | {' | '.join(metrics)} |", f"|{'---|' * (len(metrics) + 1)}"]
    lines += [f"| {row.name} | {' | '.join(in_words(row.estimates[m], m, is_of_means(first)) for m in metrics)} |" for row in rows]
    return "\n".join(lines)


def in_words(found: Interval, metric: str, is_mean: bool = False) -> str:
    """An estimate as text. is_mean: a figure itself and no gain; errors are far below 1 then."""
    digits = 2 if metric_of(metric).unit == "dB" else 5 if is_mean and metric in ERROR_PARTS else 3
    if math.isnan(found.value):
        return "-"
    if math.isinf(found.low):
        return f"{found.value:.{digits}f} (n = {found.count})"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
