"""The groups of cells that the page can show, and the intervals of their means: what scripts look up and draw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from qnerf.reports.bootstrap import LEAST_SCENES, mean_interval
from qnerf.reports.results import Cell, Sweep

MOST_PLACES, BINS = 12, 8


@dataclass(frozen=True)
class Place:
    """A row or column that a setting makes on the map: its name, and the values that fall there."""

    name: str
    values: tuple[str, ...]


def is_grid(sweep: Sweep) -> bool:
    """Whether every combination of values was run, as a search's are not."""
    return len(sweep.cells) >= math.prod(len(values) for values in sweep.swept.values())


def places_of(sweep: Sweep, key: str) -> list[Place]:
    """A value each; but a search hardly ever tries a number twice, so its numbers are put into bins with
    equally many values."""
    values = sweep.swept[key]
    if is_grid(sweep) or len(values) <= MOST_PLACES or not all(map(_is_number, values)):
        return [Place(value, (value,)) for value in values]
    rising = sorted(values, key=float)
    edges = [bin * len(rising) // BINS for bin in range(BINS + 1)]
    inside = [rising[low:high] for low, high in pairwise(edges)]
    return [Place(f"{some[0]} … {some[-1]}", tuple(some)) for some in inside]


def intervals(sweep: Sweep) -> dict[str, dict[str, list[float]]]:
    """95 % intervals of means over scenes, by the indices of a group's cells ("0,2,5") and by figure, of every group of cells that
    choices on the page can make and that has enough scenes for an interval (`LEAST_SCENES`)."""
    found: dict[str, dict[str, list[float]]] = {}
    places = {key: places_of(sweep, key) for key in sweep.swept}
    for group in _groups(sweep.cells, list(range(len(sweep.cells))), list(places.items())):
        name = ",".join(map(str, group))
        if name not in found:
            found[name] = _intervals_of([sweep.cells[i] for i in group], [*sweep.metrics, "seconds"])
    return {name: by_figure for name, by_figure in found.items() if by_figure}


def mean_over_scenes(values: Sequence[float], scenes: Sequence[str]) -> tuple[list[str], list[float]]:
    """The scenes and the mean of each one's values: a scene with more seeds weighs no more than another."""
    names = list(dict.fromkeys(scenes))
    return names, [fmean(v for v, s in zip(values, scenes, strict=True) if s == name) for name in names]


def _groups(cells: Sequence[Cell], group: list[int], left: Sequence[tuple[str, list[Place]]]) -> Iterator[list[int]]:
    """A group of enough scenes, and all into which the settings that are left split it: each held at one place, or at none."""
    if len({cells[i].scene for i in group}) < LEAST_SCENES:
        return
    if not left:
        yield group
        return
    (key, places), *rest = left
    yield from _groups(cells, group, rest)
    for place in places:
        yield from _groups(cells, [i for i in group if cells[i].settings[key] in place.values], rest)


def _intervals_of(cells: Sequence[Cell], figures: Sequence[str]) -> dict[str, list[float]]:
    found = {}
    for figure in figures:
        known = [(value, cell.scene) for cell in cells if (value := _figure(cell, figure)) is not None]
        if not known:
            continue
        scenes, means = mean_over_scenes(*map(list, zip(*known, strict=True)))
        interval = mean_interval(means, scenes)
        if math.isfinite(interval.low):
            found[figure] = [float(f"{end:.6g}") for end in (interval.low, interval.high)]
    return found


def _figure(cell: Cell, name: str) -> float | None:
    figures: Mapping[str, float] = cell.metrics
    return cell.seconds if name == "seconds" else figures.get(name)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
