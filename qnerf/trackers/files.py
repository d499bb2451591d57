"""The default: metrics.jsonl in the run folder (`journal.py`), which every run keeps, and nothing else."""

from __future__ import annotations

from typing import Literal

from qnerf.trackers.tracker import NoTracker, TrackedRun, Tracker, TrackerSettings


class FilesTrackerSettings(TrackerSettings):
    """Files in the run folder only: one JSON object per line in metrics.jsonl."""

    name: Literal["files"]

    def build(self, run: TrackedRun) -> Tracker:
        return NoTracker()
