"""report.html of a sweep: its cells as data, the scripts that show them and Plotly, all in one file that opens from disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from qnerf.common.files import write_text
from qnerf.metrics.registry import Metric, leading, metric_of, shown_first, title_of
from qnerf.reports.bootstrap import LEAST_SCENES
from qnerf.reports.comparison.groups import intervals, is_grid, places_of
from qnerf.reports.comparison.pictures import CellViews, album_for
from qnerf.reports.figures import MAIN_METHOD
from qnerf.reports.html import render
from qnerf.reports.results import Cell, Sweep, read_sweep

log = logging.getLogger(__name__)

SCRIPTS = ("statistics.js", "model.js", "heatmap.js", "viewer.js", "ranges.js", "charts.js", "table.js", "main.js")
TIME = Metric("seconds", "", (), "s", "lower", "Wall clock, in seconds.", "ours", None, label="time", digits=0)
AS_DECODED = "methods_as_decoded."  # figures of the model's own pictures, beside those of the output
REPLICATES = ("scene.path", "seed")  # what intervals are over: not compared, repeated


def write_comparison(folder: Path) -> Path:
    """Writes report.html into a sweep's folder and returns its path. Raises UserError for a folder that is none."""
    path = folder / "report.html"
    write_text(path, render_comparison(read_sweep(folder)))
    return path


def render_comparison(sweep: Sweep) -> str:
    """The whole page as text."""
    from plotly.offline import get_plotlyjs  # only this page needs it

    style, script = Markup(_asset("page.css")), Markup("\n".join(_asset(name) for name in SCRIPTS))
    return render(
        "comparison.html",
        title=f"Sweep {sweep.name}",
        style=style,
        data=document(sweep),
        script=script,
        plotly=Markup(get_plotlyjs()),
        note=note_on_means(sweep),
    )


def note_on_means(sweep: Sweep) -> str:
    """What a square of the map stands for: nothing is said of intervals where there can be none."""
    scenes, seeds = ({getattr(cell, key) for cell in sweep.cells} for key in ("scene", "seed"))
    if len(scenes) >= LEAST_SCENES:
        return "Means over scenes, with 95 % bootstrap intervals over them."
    over = " and ".join(word for word, found in (("scenes", scenes), ("seeds", seeds)) if len(found) > 1)
    return f"Means over {over}." if over else "One run a square: nothing tells how far another would be from it."


def document(sweep: Sweep) -> dict[str, Any]:
    """What the page's scripts read, as plain data."""
    album = album_for(len(sweep.cells))
    cells = [_cell(i, cell, album.views_of(cell.folder) if cell.folder else None) for i, cell in enumerate(sweep.cells)]
    missing = sum(not cell["views"] for cell in cells)
    if missing:
        log.warning("%d of %d cells have no edited views: the page shows their figures without pictures.", missing, len(cells))
    return {
        "name": sweep.name,
        "command": sweep.command,
        "swept": [_swept(sweep, key) for key in sweep.swept],
        "isGrid": is_grid(sweep),
        "first": {
            "map": leading("consistency", "heldout"),
            "across": leading("consistency"),
            "up": leading("fidelity", "heldout"),
        },
        "intervals": intervals(sweep),
        "metrics": [_metric(key) for key in [*shown_metrics(sweep.metrics), "seconds"]],
        "cells": cells,
        "scenes": {key: {"before": views.before, "truth": views.truth} for key, views in album.scenes.items()},
    }


def shown_metrics(keys: Sequence[str]) -> list[str]:
    """The figures worth choosing: those with a meaning first; no single views, and the main method's not twice."""
    keys = [key for key in keys if "_by_view" not in key and not key.startswith(f"methods.{MAIN_METHOD}.")]
    known = [key for key in shown_first() if key in keys]
    return [*known, *(key for key in keys if key not in known and key != "seconds")]


def _swept(sweep: Sweep, key: str) -> dict[str, Any]:
    places = [{"name": place.name, "values": list(place.values)} for place in places_of(sweep, key)]
    return {"key": key, "values": list(sweep.swept[key]), "replicate": key in REPLICATES, "places": places}


def _metric(key: str) -> dict[str, Any]:
    method, _, name = key.removeprefix("methods.").rpartition(".")
    metric = TIME if name == "seconds" else metric_of(name if method else key)
    if method.startswith(AS_DECODED):
        method = f"{method.removeprefix(AS_DECODED)}, as decoded"
    label = TIME.label if name == "seconds" else title_of(name if method else key)
    label = f"{method}: {label}" if method else label
    parts = {"unit": metric.unit, "better": metric.better or "", "digits": metric.digits, "explanation": metric.explanation}
    return {"key": key, "label": label, **parts}


def _cell(index: int, cell: Cell, views: CellViews | None) -> dict[str, Any]:
    figures: Mapping[str, float] = cell.metrics if cell.seconds is None else {**cell.metrics, "seconds": cell.seconds}
    return {
        "id": index,
        "scene": cell.scene,
        "seed": cell.seed,
        "identity": cell.identity,
        "status": cell.status,
        "reason": cell.reason,
        "settings": dict(cell.settings),
        "metrics": dict(figures),
        "command": cell.command,
        "views": views and {**vars(views), "names": list(views.names)},
    }


def _asset(name: str) -> str:
    return files("qnerf.reports.comparison").joinpath(name).read_text(encoding="utf-8")
