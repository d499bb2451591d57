"""report.html of a sweep: its cells as data, the scripts that show them and Plotly, all in one file that opens from disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from qnerf.common.files import write_text
from qnerf.reports.comparison.pictures import Album, CellViews, side_for
from qnerf.reports.comparison.sweep import Cell, Sweep, read_sweep
from qnerf.reports.figures import MAIN_METHOD, MEANINGS, Meaning, meaning_of
from qnerf.reports.html import escape

log = logging.getLogger(__name__)

SCRIPTS = ("statistics.js", "model.js", "heatmap.js", "viewer.js", "ranges.js", "charts.js", "table.js", "main.js")
TIME = Meaning("time", "s", "lower", 0, "Wall clock, in seconds.")
REPLICATES = ("scene.path", "seed")  # what intervals are over: not compared, repeated


def write_comparison(folder: Path) -> Path:
    """Writes report.html into a sweep's folder and returns its path. Raises UserError for a folder that is none."""
    path = folder / "report.html"
    write_text(path, render_comparison(read_sweep(folder)))
    return path


def render_comparison(sweep: Sweep) -> str:
    """The whole page as text."""
    parts = {name: _asset(name) for name in ("page.html", "page.css")}
    script = "\n".join(_asset(name) for name in SCRIPTS)
    page = parts["page.html"].replace("{{title}}", escape(f"Sweep {sweep.name}")).replace("{{style}}", parts["page.css"])
    page = page.replace("{{data}}", _embedded(document(sweep)))
    return page.replace("{{script}}", script).replace("{{plotly}}", get_plotlyjs())


def document(sweep: Sweep) -> dict[str, Any]:
    """What the page's scripts read, as plain data."""
    album = Album(side_for(len(sweep.cells)))
    cells = [_cell(i, cell, album.views_of(cell.folder) if cell.folder else None) for i, cell in enumerate(sweep.cells)]
    missing = sum(not cell["views"] for cell in cells)
    if missing:
        log.warning("%d of %d cells have no edited views: their figures are shown without pictures.", missing, len(cells))
    return {
        "name": sweep.name,
        "command": sweep.command,
        "swept": [{"key": key, "values": list(values), "replicate": key in REPLICATES} for key, values in sweep.swept.items()],
        "metrics": [_metric(key) for key in [*shown_metrics(sweep.metrics), "seconds"]],
        "cells": cells,
        "scenes": {key: {"before": views.before, "truth": views.truth} for key, views in album.scenes.items()},
    }


def shown_metrics(keys: Sequence[str]) -> list[str]:
    """The figures worth choosing: those with a meaning first; no single views, and the main method's not twice."""
    keys = [key for key in keys if "_by_view" not in key and not key.startswith(f"methods.{MAIN_METHOD}.")]
    known = [key for key in MEANINGS if key in keys]
    return [*known, *(key for key in keys if key not in known and key != "seconds")]


def _metric(key: str) -> dict[str, Any]:
    method, _, name = key.removeprefix("methods.").rpartition(".")
    meaning = TIME if name == "seconds" else meaning_of(name if method else key)
    label = f"{method}: {meaning.label}" if method else meaning.label
    parts = {"unit": meaning.unit, "better": meaning.better, "digits": meaning.digits, "explanation": meaning.explanation}
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
        "views": views and {"names": list(views.names), "after": views.after, "scene": views.scene},
    }


def _embedded(value: object) -> str:
    """JSON that no browser takes for the end of its script, whatever the texts in it."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return files("qnerf.reports.comparison").joinpath(name).read_text(encoding="utf-8")
