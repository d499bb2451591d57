"""What trackers are told of a finished run: its pictures, tables and files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from qnerf.common.files import write_image
from qnerf.reports.images import spread, to_pixels
from qnerf.runs.outcome import Results, comparison_table
from qnerf.trackers.tracker import Tracker

MOST_PAIRS = 12  # views of which the table has a picture
FILES = ("orbit.mp4", "report.html", "attention.html", "transforms.json", "metrics.json", "comparison.csv", "run.log")


def record_outcome(tracker: Tracker, folder: Path, results: Results) -> None:
    """Tells a tracker of the files and tables of `write_outcome`: a row a method, and a row a view."""
    for name in ("contact_sheet", "comparison"):
        if (folder / f"{name}.png").exists():
            tracker.image(name, folder / f"{name}.png")
    head, *rows = csv.reader(comparison_table(results, results.scene.name, results.settings.control.detail).splitlines())
    tracker.table("methods", head, [[_plain(text) for text in row] for row in rows])
    pairs = before_and_after(folder / "methods", results)
    views = [[view, results.reconstruction.get(view), pairs.get(view)] for view in results.scene.view_names]
    tracker.table("views", ["view", "reconstruction PSNR, dB", "before and after"], views)
    for name in FILES:
        if (folder / name).exists():
            tracker.file(Path(name).stem, folder / name)


def before_and_after(folder: Path, results: Results) -> dict[str, Path]:
    """A picture each of some views, by name: the source's beside the main method's, as a table at a tracker shows them."""
    scene, edited, found = results.scene, results.main.edited.images, {}
    for i in spread(len(scene.view_names), MOST_PAIRS):
        found[scene.view_names[i]] = folder / f"pair_{scene.view_names[i]}.png"
        write_image(found[scene.view_names[i]], np.concatenate([to_pixels(scene.images[i]), to_pixels(edited[i])], axis=1))
    return found


def _plain(text: str) -> str | float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text
