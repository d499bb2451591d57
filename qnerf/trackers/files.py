"""The default tracker: one JSON object per line in metrics.jsonl."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from qnerf.common.files import without_nan
from qnerf.trackers.tracker import Tracker, TrackerSettings


class FilesTrackerSettings(TrackerSettings):
    """Files in the run folder only: one JSON object per line in metrics.jsonl."""

    name: Literal["files"]

    def build(self, folder: Path, identity: str, config: Mapping[str, Any]) -> Tracker:
        return FilesTracker(folder)


class FilesTracker:
    """Appends to metrics.jsonl in the run folder. A resumed run adds to the lines of the interrupted one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._append({"step": step, **values})

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self._append({"image": name, "file": path.name} | ({} if step is None else {"step": step}))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._append({"summary": dict(summary)})

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(without_nan(entry), ensure_ascii=False) + "\n")
