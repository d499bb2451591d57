"""Where a run's figures and pictures are recorded while it goes. No tracker can change or stop a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from qnerf.trackers.files import FilesTracker
from qnerf.trackers.settings import TrackerSettings, WandbTrackerSettings
from qnerf.trackers.wandb import WandbTracker


class Tracker(Protocol):
    """Recorder of one run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Figures by name, at a step of the denoising or of a training. Methods of a run begin at step 0 again."""
        ...

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        """A finished picture, and the step it is of, if it is of one."""
        ...

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The run's final figures. Always called, also after a failure (then with what there is)."""
        ...


class NoTracker:
    """Records nothing: for a process whose leader records."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        pass

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        pass

    def finish(self, summary: Mapping[str, Any]) -> None:
        pass


def make_tracker(settings: TrackerSettings, folder: Path, identity: str, config: Mapping[str, Any]) -> Tracker:
    """The tracker of a run. folder: the run's. identity: the id at W&B. config: plain data, recorded with it."""
    files = FilesTracker(folder)
    if isinstance(settings, WandbTrackerSettings):
        return WandbTracker(settings, folder, identity, config, beside=files)
    return files
