"""Weights & Biases as a tracker. If wandb fails, there is one warning, and the run continues without it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from qnerf.trackers.files import FilesTracker
from qnerf.trackers.tracker import Tracker, TrackerSettings

log = logging.getLogger(__name__)

STEP = "step"


class WandbTrackerSettings(TrackerSettings):
    """Weights & Biases, in addition to files. Its run id is the run's identity: a resumed run continues its
    curve."""

    name: Literal["wandb"]
    project: str = Field(default="qnerf", min_length=1)
    entity: str | None = None  # account or team; None: the account's default
    mode: Literal["offline", "online", "disabled"] = "offline"  # offline: nothing leaves the machine until `wandb sync`
    tags: tuple[str, ...] = ()
    group: str | None = None  # runs shown together; None: runs of the same experiment

    def build(self, folder: Path, identity: str, config: Mapping[str, Any]) -> Tracker:
        return WandbTracker(self, folder, identity, config, beside=FilesTracker(folder))


class WandbTracker:
    """Records at W&B and, beside it, in plain files: an offline run at W&B leaves no readable summary of its own."""

    def __init__(
        self,
        settings: WandbTrackerSettings,
        folder: Path,
        identity: str,
        config: Mapping[str, Any],
        beside: FilesTracker,
    ) -> None:
        self.beside = beside
        self._run: Any = None
        self._guard("start", lambda: self._start(settings, folder, identity, config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.beside.log(values, step)
        self._guard("log", lambda: self._run.log({**values, STEP: step}))

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self.beside.image(name, path, step)
        self._guard("image", lambda: self._send_image(name, path, step))

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.beside.finish(summary)
        self._guard("summary", lambda: self._run.summary.update(dict(summary)))
        run, self._run = self._run, None
        if run is not None:  # also after a failed summary: an open run would keep the process alive
            self._call("finish", run.finish)

    def _start(self, settings: WandbTrackerSettings, folder: Path, identity: str, config: Mapping[str, Any]) -> None:
        import wandb  # half a second, and only those who track with it pay

        self._run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode=settings.mode,
            tags=list(settings.tags),
            group=settings.group or config.get("experiment"),
            id=identity,
            resume="allow" if settings.mode == "online" else None,  # offline, `wandb sync --id` joins the parts
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )
        # W&B drops what is logged below its own counter, and a resumed run or a second method starts at step 0 again.
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def _send_image(self, name: str, path: Path, step: int | None) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(path))} | ({} if step is None else {STEP: step}))

    def _guard(self, what: str, action: Callable[[], object]) -> None:
        """Runs an action on the open run. After a failure the run is closed and nothing more is sent."""
        if (self._run is None and what != "start") or self._call(what, action):
            return
        run, self._run = self._run, None
        if run is not None:
            self._call("finish", run.finish)

    @staticmethod
    def _call(what: str, action: Callable[[], object]) -> bool:
        """Whether the action went well."""
        try:
            action()
        except Exception as error:  # any: a tracker never stops a run
            log.warning("wandb %s failed (%s: %s): the run continues without it.", what, type(error).__name__, error)
            return False
        return True
