"""Intervals of the groups of cells that the page shows, and the places of its map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from qnerf.reports.bootstrap import mean_interval
from qnerf.reports.comparison.groups import intervals, is_grid, places_of
from qnerf.reports.results import Cell, Sweep

STRENGTHS = ("0.01", "0.02")


def make_sweep(scenes: int, seeds: int = 2) -> Sweep:
    swept = {"guidance.strength": STRENGTHS, "scene.path": [f"s{i}" for i in range(scenes)], "seed": [str(i) for i in range(seeds)]}
    random = np.random.default_rng(0)
    cells = []
    for values in itertools.product(*swept.values()):
        settings = dict(zip(swept, values, strict=True))
        figures = {"psnr_object": float(random.normal(20, 1))}
        cells.append(Cell(settings["scene.path"], settings["seed"], "", "done", "", None, None, settings, figures, ""))
    return Sweep("made up", "", swept, ["psnr_object"], cells)


def test_intervals_are_the_benchmarks_of_the_scenes_means() -> None:
    sweep = make_sweep(7)
    found = intervals(sweep)
    for strength in STRENGTHS:
        cells = [(i, cell) for i, cell in enumerate(sweep.cells) if cell.settings["guidance.strength"] == strength]
        scenes = sorted({cell.scene for _, cell in cells})
        means = [np.mean([cell.metrics["psnr_object"] for _, cell in cells if cell.scene == scene]) for scene in scenes]
        expected = mean_interval([float(mean) for mean in means], scenes)
        shown = found[",".join(str(i) for i, _ in cells)]["psnr_object"]
        assert shown == pytest.approx([expected.low, expected.high], rel=1e-5)


def test_every_choice_that_leaves_enough_scenes_has_an_interval_and_no_other() -> None:
    found = intervals(make_sweep(6, seeds=2))
    assert len(found) == (len(STRENGTHS) + 1) * (2 + 1), "each strength or all, by each seed or all; a scene alone has none"
    assert intervals(make_sweep(5)) == {}


def test_a_scene_without_the_figure_does_not_count() -> None:
    sweep = make_sweep(6)
    for cell in sweep.cells[:2]:  # of the first scene, under the first strength
        assert isinstance(cell.metrics, dict)
        cell.metrics.clear()
    first = [i for i, cell in enumerate(sweep.cells) if cell.settings["guidance.strength"] == STRENGTHS[0]]
    assert ",".join(map(str, first)) not in intervals(sweep)
    assert ",".join(map(str, range(len(sweep.cells)))) in intervals(sweep), "the scene is there under the other strength"


def test_a_searchs_numbers_are_put_in_bins_and_a_grids_are_not() -> None:
    numbers = [f"{0.1 * i:.1f}" for i in range(16)]
    cells = [Cell("a", "0", "", "done", "", None, None, {"x": n, "y": "1"}, {}, "") for n in numbers]
    grid = Sweep("grid", "", {"x": numbers, "y": ["1"]}, [], cells)
    search = Sweep("search", "", {"x": numbers[::-1], "y": ["1", "2"]}, [], cells)
    assert is_grid(grid)
    assert [place.name for place in places_of(grid, "x")] == numbers
    assert not is_grid(search)
    assert [place.values for place in places_of(search, "x")] == [tuple(numbers[i : i + 2]) for i in range(0, 16, 2)]
    assert places_of(search, "x")[0].name == "0.0 … 0.1"
    assert [place.name for place in places_of(search, "y")] == ["1", "2"]
