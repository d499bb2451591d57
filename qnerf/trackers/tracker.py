"""Where figures and pictures are recorded during a run. No tracker can change or stop a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from qnerf.variants import Variant


class Tracker(Protocol):
    """Records one run."""

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


class TrackerSettings(Variant):
    """Where figures are recorded. None of these settings can change a result."""

    def build(self, folder: Path, identity: str, config: Mapping[str, Any]) -> Tracker:
        """The tracker of a run. folder: the run's. identity: the run's, an id at services. config: plain data, recorded with it."""
        raise NotImplementedError
