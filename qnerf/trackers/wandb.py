"""Weights & Biases as a tracker."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from qnerf.trackers.tracker import TrackedRun, Tracker, TrackerSettings

STEP = "step"
LIVE, SECONDS = "live/*", "live/seconds"
AGENT_RUN = "WANDB_RUN_ID"  # set by `wandb agent`, whose run this then is
REFUSED_ID = "; where W&B refuses the id, since a run of this id was deleted there, set tracker.id=<another>"


class WandbTrackerSettings(TrackerSettings):
    """Weights & Biases, in addition to files. Its run id is the run's identity: a resumed run continues its
    curve."""

    name: Literal["wandb"]
    project: str = Field(default="qnerf", min_length=1)
    entity: str | None = None  # account or team; None: the account's default
    mode: Literal["offline", "online", "disabled"] = "offline"  # offline: nothing leaves the machine until `wandb sync`
    run_name: str | None = None  # None: what tells the run from its neighbours, such as its swept values
    notes: str | None = None
    tags: tuple[str, ...] = ()  # beside the experiment's name
    job_type: str = "edit"
    group: str | None = None  # runs shown together; None: those of the same sweep, or without one of the same experiment
    id: str | None = None  # None: the run's identity

    def destination(self, run: TrackedRun) -> str:
        who = os.environ.get(AGENT_RUN) or self.id or run.identity
        return f"wandb {self.mode} {self.entity or ''}/{self.project}/{who}"

    def build(self, run: TrackedRun) -> Tracker:
        return WandbTracker(self, run)


class WandbTracker:
    """One run at W&B."""

    def __init__(self, settings: WandbTrackerSettings, run: TrackedRun) -> None:
        import wandb  # half a second, and only those who track with it pay

        self._identity, self._files = run.identity, []
        self._made_from: dict[str, str] = {}
        experiment = str(run.config.get("experiment", ""))
        agent = AGENT_RUN in os.environ
        try:
            self._run: Any = wandb.init(
                project=settings.project,
                entity=settings.entity,
                mode=settings.mode,
                name=settings.run_name or run.label or None,
                notes=settings.notes,
                tags=list(dict.fromkeys([*settings.tags, *([experiment] if experiment else [])])),
                job_type=settings.job_type,
                group=settings.group or run.sweep or experiment or None,
                id=None if agent else settings.id or run.identity,
                resume="allow" if settings.mode == "online" and not agent else None,  # offline, `wandb sync --id` joins the parts
                dir=str(run.folder),
                config={**run.config, **run.facts},
                settings=wandb.Settings(silent=True, console="off" if run.replayed else "wrap"),
            )
        except Exception as error:
            raise RuntimeError(f"{error}{REFUSED_ID}") from error
        # W&B drops what is logged below its own counter, and a resumed run or a second method starts at step 0 again.
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)
        self._run.define_metric(SECONDS)
        self._run.define_metric(LIVE, step_metric=SECONDS)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, STEP: step})

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        self._run.log({**{f"live/{key}": value for key, value in values.items()}, SECONDS: seconds})

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(path))} | ({} if step is None else {STEP: step}))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        import wandb

        cells = [[wandb.Image(str(cell)) if isinstance(cell, Path) else cell for cell in row] for row in rows]
        self._run.log({name: wandb.Table(columns=list(columns), data=cells, allow_mixed_types=True)})

    def file(self, name: str, path: Path) -> None:
        import wandb

        if path.suffix == ".mp4":
            self._run.log({name: wandb.Video(str(path), format="mp4")})
        else:
            self._files.append(path)

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        import wandb

        found = wandb.Artifact(f"{kind}-{identity}", type=kind, metadata=dict(about))
        with found.new_file("about.json") as file:
            json.dump(about, file, indent=1)
        for path in files:
            found.add_file(str(path), name=path.name)
        self._made_from[kind] = found.name
        if made:
            self._run.log_artifact(found)
        else:  # as `use_artifact` does, which refuses to be offline and else waits for the upload
            self._run._log_artifact(found, is_user_created=True, use_after_commit=True)

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        try:
            self._run.summary.update(dict(summary))
            if self._files:
                self._run.log_artifact(self._artifact())
        finally:  # an open run would keep the process alive
            self._run.finish(exit_code=exit_code)

    def _artifact(self) -> Any:
        """The run's files as one artifact."""
        import wandb

        found = wandb.Artifact(f"edit-{self._identity}", type="edit", metadata=self._made_from)
        for path in self._files:
            found.add_file(str(path), name=path.name)
        return found
