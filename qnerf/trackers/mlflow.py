"""MLflow as a tracker: a folder of local files, or a server."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from qnerf.common.installation import install_command
from qnerf.trackers.tracker import TrackedRun, Tracker, TrackerSettings

FOLDER = "mlruns"
IDENTITY = "qnerf.identity"
ALLOW_FILES = "MLFLOW_ALLOW_FILE_STORE"
BATCH = 100  # parameters that MLflow takes at once


class MlflowTrackerSettings(TrackerSettings):
    """MLflow, in addition to files. uri: of the tracking store; None: the folder mlruns in output_dir. project: its experiment."""

    name: Literal["mlflow"]
    uri: str | None = None
    project: str = Field(default="qnerf", min_length=1)

    def destination(self, run: TrackedRun) -> str:
        return " ".join(["mlflow", *([self.uri] if self.uri else []), self.project])

    def build(self, run: TrackedRun) -> Tracker:
        local = Path(str(run.config.get("output_dir", run.folder))).expanduser().absolute() / FOLDER
        return MlflowTracker(self.uri or local.as_uri(), self.project, run)


class MlflowTracker:
    """One run. A resumed run goes on with the MLflow run of its identity."""

    def __init__(self, uri: str, project: str, run: TrackedRun) -> None:
        try:
            self._entities: Any = importlib.import_module("mlflow.entities")  # a second, and only those who track with it pay
        except ImportError:
            raise RuntimeError(f"its package is not installed: {install_command('mlflow')}") from None
        if uri.startswith("file:"):
            os.environ.setdefault(ALLOW_FILES, "true")  # MLflow 3 asks for a word where a store is a folder
        self._client: Any = importlib.import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        earlier = self._client.search_runs([experiment], f"tags.`{IDENTITY}` = '{run.identity}'")
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {IDENTITY: run.identity, "qnerf.sweep": run.sweep or "", "qnerf.experiment": str(run.config.get("experiment", ""))}
        self._id = self._client.create_run(experiment, run_name=run.label or run.identity, tags=tags).info.run_id
        params = list(_flat({**run.config, **run.facts}))
        for start in range(0, len(params), BATCH):
            self._batch(params=params[start : start + BATCH])

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._metrics(values, step)

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        self._metrics({f"live/{key}": value for key, value in values.items()}, round(seconds))

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        self._client.log_artifact(self._id, str(path), name if step is None else f"{name}/{step:03d}")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        plain = [[cell.name if isinstance(cell, Path) else cell for cell in row] for row in rows]
        self._client.log_dict(self._id, {"columns": list(columns), "data": plain}, f"{name}.json")

    def file(self, name: str, path: Path) -> None:
        self._client.log_artifact(self._id, str(path))

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        self._client.set_tag(self._id, f"qnerf.{kind}", identity)
        self._client.log_dict(self._id, {"identity": identity, "made": made, **about}, f"lineage/{kind}.json")
        for path in files:
            self._client.log_artifact(self._id, str(path), f"lineage/{kind}")

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        status = "FINISHED" if exit_code == 0 else "KILLED" if exit_code > 128 else "FAILED"
        self._client.set_terminated(self._id, status)

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(key, float(value), now, step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def _batch(self, params: Sequence[tuple[str, str]]) -> None:
        self._client.log_batch(self._id, params=[self._entities.Param(key, value) for key, value in params])


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested plain data as dotted keys and short texts."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, str(value)[:500]
