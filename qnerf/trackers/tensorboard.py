"""TensorBoard as a tracker: event files in the run folder, which `tensorboard --logdir outputs` finds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from qnerf.common.installation import install_command
from qnerf.trackers.tracker import TrackedRun, Tracker, TrackerSettings

FOLDER = "tensorboard"


class TensorboardTrackerSettings(TrackerSettings):
    """TensorBoard, in addition to files. folder: where its event files go; None: tensorboard/ in the run folder."""

    name: Literal["tensorboard"]
    folder: str | None = None

    def destination(self, run: TrackedRun) -> str:
        return f"tensorboard {self.folder or ''}".strip()

    def build(self, run: TrackedRun) -> Tracker:
        return TensorboardTracker(Path(self.folder) / run.identity if self.folder else run.folder / FOLDER, run)


class TensorboardTracker:
    """One run. Steps are the denoising's; of live figures, seconds."""

    def __init__(self, folder: Path, run: TrackedRun) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise RuntimeError(f"its package is not installed: {install_command('tensorboard')}") from None
        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("config", _block(json.dumps({**run.config, **run.facts}, indent=1)))
        self._writer.add_text("run", f"{run.label}, identity {run.identity}" + (f", of {run.sweep}" if run.sweep else ""))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        for key, value in values.items():
            self._writer.add_scalar(f"live/{key}", value, round(seconds))
        self._writer.flush()

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        from qnerf.common.files import read_image

        self._writer.add_image(name, read_image(path), step, dataformats="HWC")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._writer.add_text(name, _block(as_csv(columns, rows)))

    def file(self, name: str, path: Path) -> None:
        return  # it lies in the run folder, beside the event files

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        self._writer.add_text(f"lineage/{kind}", _block(json.dumps({"identity": identity, "made": made, **about}, indent=1)))

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        if exit_code:
            self._writer.add_text("exit code", str(exit_code))
        self._writer.close()


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text; pictures by their file's name."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[cell.name if isinstance(cell, Path) else cell for cell in row] for row in rows])
    return buffer.getvalue()


def _block(text: str) -> str:
    """Text as a block of code in Markdown, which TensorBoard shows."""
    return "\n".join(f"    {line}" for line in text.splitlines())
