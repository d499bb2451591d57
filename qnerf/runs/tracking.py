"""What trackers are told of a run beside its figures, and a finished run told to those that have not heard of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from qnerf import __version__
from qnerf.common.files import DamagedFile, read_json
from qnerf.config import RunSettings
from qnerf.metrics.registry import metric_of, shown_first
from qnerf.runs.stages import Stages
from qnerf.trackers.snapshot import snapshot
from qnerf.trackers.together import Together, replay
from qnerf.trackers.tracker import TrackedRun

log = logging.getLogger(__name__)

CODE = "code"  # in output_dir: the code that tracked runs were made with, by its hash


class Place(Protocol):
    """Of a cell in its sweep (`beat.SweepPlace`, which needs torch)."""

    @property
    def sweep(self) -> str: ...

    @property
    def label(self) -> str: ...


def tracked_run(settings: RunSettings, folder: Path, place: Place | None = None) -> TrackedRun:
    """A run as trackers know it. place: its sweep's name, and its values in words."""
    plain = settings.model_dump(mode="json")
    scene = settings.scene.path.removeprefix("asset:")
    label, sweep = (place.label, place.sweep) if place else ("", None)
    return TrackedRun(folder, folder.name, plain, facts_of(plain), label or f"{settings.experiment} {Path(scene).name}", sweep)


def tell_sources(tracker: Together, settings: RunSettings, folder: Path, scene: str, views: Sequence[str], strip: Path) -> None:
    """Tells what a run is made from before it works: its scene, whose hash is `scene`, with a strip of its views; and the code,
    where someone listens."""
    about = {"name": Path(settings.scene.path.removeprefix("asset:")).name, "views": list(views)}
    tracker.lineage("scene", scene, about, [strip])
    if tracker.others:
        with suppress(OSError):  # a full disk is told by what needs it
            code = snapshot(folder.parents[1] / CODE)
            tracker.lineage("code", code.stem, {"version": __version__}, [code])


def tell_inversion(tracker: Together, settings: RunSettings, stages: Stages, psnr: float, made: bool) -> None:
    """Tells of the inversion that a run's edits start from. psnr: of the reconstruction, dB."""
    about = {"scene": f"scene-{stages.inputs.scene}", "weights": stages.inputs.weights, "steps": settings.steps}
    about |= {"inversion": settings.inversion.model_dump(mode="json"), "reconstruction_psnr": psnr}
    tracker.lineage("inversion", stages.inversion().identity, about, made=made)


def tell_of_failure(settings: RunSettings, folder: Path, place: Place | None, code: int) -> None:
    """Tells the trackers of a cell that failed before its run had any: a dashboard of a sweep has no holes."""
    Together(settings.tracker, tracked_run(settings, folder, place)).finish({}, code)


def facts_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Beside the settings: the chosen variants in short, and the units of figures."""
    choices = {key: value["name"] for key, value in plain.items() if isinstance(value, dict) and isinstance(value.get("name"), str)}
    return {"choices": choices, "units": {key: unit for key in shown_first() if (unit := metric_of(key).unit)}}


def tell_of_finished(settings: RunSettings, folder: Path, place: Place | None = None) -> None:
    """Tells the trackers of the settings what they have not heard of a finished run."""
    for where in replay(settings.tracker, tracked_run(settings, folder, place)):
        log.info("%s: told to %s from its record.", folder, where)


def run_of_folder(folder: Path, config: Mapping[str, Any], label: str = "", sweep: str | None = None) -> TrackedRun:
    """A finished run as trackers know it, from its folder. config: its config.yaml."""
    scene = figures(folder).get("scene", "")
    return TrackedRun(folder, folder.name, config, facts_of(config), label or f"{config.get('experiment', '')} {scene}", sweep)


def figures(folder: Path) -> Mapping[str, Any]:
    """A run's metrics.json, empty where it has none."""
    try:
        found = read_json(folder / "metrics.json")
    except DamagedFile:
        return {}
    return found if isinstance(found, dict) else {}
