"""An evaluation: groups one after another, each stored when finished, and the files that show them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.classifiers.classifiers import ASSET, Classifiers, load_classifiers
from qnerf.common import files
from qnerf.common.hashes import digest
from qnerf.common.sources import code_version
from qnerf.devices import pick_device
from qnerf.evaluate_backbone.bars import describe, held_against
from qnerf.evaluate_backbone.groups import autoencoder, classifiers, cost, generation, guidance, inversion, loose, pointing, queries
from qnerf.evaluate_backbone.jobs import PASSES, Job, Painter
from qnerf.evaluate_backbone.settings import EvaluateSettings, Group
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.evaluate_backbone.views import heldout_views
from qnerf.pretrain.sheets import arrange
from qnerf.reports.charts import line_chart
from qnerf.runs.logs import RunLog
from qnerf.runs.progress import RunProgress
from qnerf.store.entry import Artefact
from qnerf.store.key import Key
from qnerf.store.store import Store

log = logging.getLogger(__name__)

WITHOUT_EFFECT = {"name", "output_dir", "groups", "chunk_size", "device", "threads", "classifiers", "photographs"}
NOT_KEPT = ("cost", "autoencoder")  # timings, and photographs that may change under their folder; both are quick


class GroupModule(Protocol):
    """A module of `qnerf.evaluate_backbone.groups`. jobs: the pictures that its `measure` asks for."""

    @property
    def __name__(self) -> str: ...

    def jobs(self, settings: EvaluateSettings) -> list[Job]: ...

    def measure(self, subject: Subject) -> Findings: ...


MODULES: dict[Group, GroupModule] = {
    "cost": cost,
    "classifiers": classifiers,
    "autoencoder": autoencoder,
    "queries": queries,
    "pointing": pointing,
    "generation": generation,
    "loose": loose,
    "inversion": inversion,
    "guidance": guidance,
}


def evaluate_backbone(
    settings: EvaluateSettings, backbone: DiffusionBackbone | None = None, classifiers: Classifiers | None = None
) -> Path:
    """Measures what the settings ask for, and returns the folder of figures.json, the sheets and the charts.

    backbone, classifiers: in place of those that the settings name.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    classifiers = classifiers or load_classifiers(Path(settings.classifiers) if settings.classifiers else ASSET, device)
    backbone = backbone or settings.backbone.build(device)
    folder = Path(settings.output_dir) / settings.name
    folder.mkdir(parents=True, exist_ok=True)
    with RunLog() as run_log, RunProgress({PASSES: 0.0}, {}) as progress:
        run_log.attach(folder)
        grades = (settings.control, *(("loose_depth",) if "loose" in settings.chosen() else ()))
        side = backbone.image_size[0]
        views = heldout_views(settings.seed, 0, settings.views, side, settings.world, grades, settings.kinds)
        store = Store(Path(settings.output_dir) / "store")
        subject = Subject(settings, Painter(backbone, views, settings, store, progress), classifiers)
        progress.left[PASSES] = subject.painter.plan(job for group in settings.chosen() for job in MODULES[group].jobs(settings))
        found: dict[str, Any] = {}
        for group in settings.chosen():
            progress.enter(group)
            found[group] = _show(_once(group, subject, store), folder)
            _write(folder, subject, found)
        log.info("%s\n%s", folder, describe(held_against(found)))
    return folder


def group_key(group: Group, subject: Subject) -> Key:
    """Under which a group's findings are kept: all that can change them."""
    settings = subject.settings.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    settings["backbone"].pop("path")
    revisions = [subject.painter.backbone.revision, subject.classifiers.revision, code_version(MODULES[group].__name__)]
    return Key("evaluate_backbone", digest([group, settings, revisions]))


def _once(group: Group, subject: Subject, store: Store) -> Artefact:
    def compute() -> Artefact:
        findings = MODULES[group].measure(subject)
        sheets = {f"{name}.png": np.asarray(arrange([list(row) for row in rows])) for name, rows in findings.sheets.items()}
        return Artefact(record={"figures": findings.figures, "charts": findings.charts}, pictures=sheets)

    return compute() if group in NOT_KEPT else store.once(group_key(group, subject), compute)


def _show(artefact: Artefact, folder: Path) -> dict[str, Any]:
    """Writes a group's pictures; returns its figures."""
    for name, pixels in artefact.pictures.items():
        files.write_image(folder / name, pixels)
    for name, (x, x_label, y_label, series) in artefact.record["charts"].items():
        files.write_text(folder / f"{name}.svg", line_chart(series, x, x_label, y_label))
    return artefact.record["figures"]


def _write(folder: Path, subject: Subject, found: dict[str, Any]) -> None:
    files.write_json(
        folder / "figures.json",
        {
            "settings": subject.settings.model_dump(mode="json"),
            "backbone": subject.painter.backbone.revision,
            "classifiers": subject.classifiers.revision,
            "bars": held_against(files.without_nan(found)),
            "groups": found,
        },
    )
