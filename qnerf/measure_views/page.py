"""What `qnerf measure` says: a record, a table for the terminal, and a page that opens from disk."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from qnerf.common.files import Pixels
from qnerf.measure_views.figures import Figures, record_of
from qnerf.measure_views.reading import Measured
from qnerf.metrics.registry import Metric
from qnerf.reports.html import render
from qnerf.reports.images import to_pixels
from qnerf.reports.sheet import Column, contact_sheet

Row = tuple[str, str, str]  # a figure's label, its value, and that of the source views


def as_record(measured: Measured, figures: Figures, command: str) -> dict[str, Any]:
    """What measure.json holds."""
    scene = measured.edited
    return {
        "command": command,
        "views": list(scene.view_names),
        "size": [scene.cameras.width, scene.cameras.height],
        "cameras": "own" if measured.own_cameras else "source",
        "notes": list(measured.notes),
        "truth": dict(figures.truth),
        "geometry": dict(figures.geometry),
        "source": dict(figures.source),
        "left_out": dict(figures.left_out),
    }


def as_text(measured: Measured, figures: Figures) -> str:
    """The table for a terminal."""
    rows = [("with a truth", "edited", ""), *rows_of(figures.truth)] if figures.truth else []
    rows += [("geometry alone", "edited", "source"), *rows_of(figures.geometry, figures.source)]
    wide = max(len(label) for label, _, _ in rows)
    lines = [f"{label:<{wide}}  {value:>10}  {floor:>10}".rstrip() for label, value, floor in rows]
    lines += [f"not measured: {what}: {why}" for what, why in figures.left_out.items()]
    return "\n".join([*lines, *measured.notes])


def as_page(measured: Measured, figures: Figures, command: str) -> str:
    """The page as text."""
    scene = measured.edited
    return render(
        "measure.html",
        title="Edited views, measured",
        command=command,
        count=len(scene.view_names),
        size=f"{scene.cameras.width} x {scene.cameras.height}",
        cameras="those of the folder" if measured.own_cameras else "those of the source views",
        notes=measured.notes,
        truth=[[(text, "") for text in row[:2]] for row in rows_of(figures.truth)],
        geometry=[[(text, "") for text in row] for row in rows_of(figures.geometry, figures.source)],
        records=[record_of(name) for name in (*figures.truth, *figures.geometry)],
        left_out=figures.left_out,
        sheet=_sheet(measured),
    )


def rows_of(figures: Mapping[str, float], source: Mapping[str, float] | None = None) -> list[Row]:
    """A row a figure. source: the same of the source views."""
    rows = []
    for name, value in figures.items():
        record = record_of(name)
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[record.better]
        rows.append((record.label + arrow, _shown(record, value), "" if source is None else _shown(record, source.get(name))))
    return rows


def _shown(record: Metric, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{record.digits}f}{' ' + record.unit if record.unit else ''}"


def _sheet(measured: Measured) -> Pixels:
    scene, truth = measured.edited, measured.edited.truth
    true = measured.true_images if truth is None else truth.edited_images
    pictures: Sequence[tuple[str, Any]] = [("source", measured.source.images), ("edited", scene.images)]
    pictures = [*pictures, *([("true edit", true)] if true is not None else [])]
    columns = [Column(title, [to_pixels(image) for image in images]) for title, images in pictures]
    return contact_sheet(columns, scene.view_names, "Some of the views", "")
