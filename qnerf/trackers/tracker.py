"""Where figures and pictures are recorded during a run. No tracker can change or stop a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field, SerializeAsAny, SerializerFunctionWrapHandler, ValidationError, field_validator, model_serializer

from qnerf.variants import Variant, variants


@dataclass(frozen=True)
class TrackedRun:
    """What trackers know of a run. folder: the run's, or a training's. identity: the run's, an id at services. config: its settings
    as plain data. facts: further plain data beside them, such as its choices in short. label: what tells it from its neighbours, in
    a few words. sweep: the name of the sweep that it is a cell of. replayed: it is told from its record, and what this process
    prints is not the run's."""

    folder: Path
    identity: str
    config: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    sweep: str | None = None
    replayed: bool = False


class Tracker(Protocol):
    """Records one run."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Figures by name, at a step of the denoising or of a training. Methods of a run begin at step 0 again."""
        ...

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        """How far a run is, every few seconds. seconds: since it began. Nothing of it is part of the run's record."""
        ...

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        """A finished picture, and the step it is of, if it is of one."""
        ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A finished table. Its cells are texts, numbers, None, or paths of pictures."""
        ...

    def file(self, name: str, path: Path) -> None:
        """A finished file, such as the report."""
        ...

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        """What a run is made from: its "scene", its "inversion", the "code". identity: equal where it is the same for two runs.
        about: plain data of it, without this machine's paths. made: whether this run has made it; else it was there."""
        ...

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        """The run's final figures. Always called, also after a failure (then with what there is). exit_code: of the run; 0 where it
        came to its end."""
        ...


class NoTracker:
    """Records nothing: for a process whose leader records."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        pass

    def live(self, values: Mapping[str, float], seconds: float) -> None:
        pass

    def image(self, name: str, path: Path, step: int | None = None) -> None:
        pass

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        pass

    def file(self, name: str, path: Path) -> None:
        pass

    def lineage(self, kind: str, identity: str, about: Mapping[str, Any], files: Sequence[Path] = (), made: bool = False) -> None:
        pass

    def finish(self, summary: Mapping[str, Any], exit_code: int = 0) -> None:
        pass


class TrackerSettings(Variant):
    """Where figures are recorded, beside metrics.jsonl in the run folder. None of these settings can change a result.

    beside: further trackers by their names, as `tracker=[wandb,tensorboard]` chooses them.
    """

    beside: dict[str, SerializeAsAny[TrackerSettings]] = Field(default_factory=dict)

    @field_validator("beside", mode="before")
    @classmethod
    def _each_by_its_name(cls, beside: Any) -> Any:
        if not isinstance(beside, dict):
            return beside
        known, found = variants("trackers"), {}
        for key, value in beside.items():
            kind = known.get(key)
            if kind is None:
                raise ValueError(f"{key!r} is no tracker; expected one of {', '.join(sorted(known))}")
            try:
                found[key] = kind.model_validate(value)
            except ValidationError as error:
                first = error.errors()[0]
                raise ValueError(f"{'.'.join(map(str, (key, *first['loc'])))}: {first['msg']}") from None
        return found

    @model_serializer(mode="wrap")
    def _without_empty_beside(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain = serialize(self)
        return plain if self.beside else {key: value for key, value in plain.items() if key != "beside"}

    def all(self) -> list[TrackerSettings]:
        """This tracker and those beside it, each once."""
        return list({each.name: each for each in (self, *self.beside.values())}.values())

    def destination(self, run: TrackedRun) -> str | None:
        """Where a run's record goes, in words that tell places apart. None: nowhere but into the run folder."""
        return None

    def build(self, run: TrackedRun) -> Tracker:
        """The tracker of a run."""
        raise NotImplementedError


def over_files(data: Any) -> Any:
    """The config of a tracker: those that stand beside another, without one, stand beside the files."""
    return {"name": "files", **data} if isinstance(data, dict) and "name" not in data and "beside" in data else data
