"""The edit by each method: computed once, kept with its records, resumed from its last finished interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from qnerf.attention.layers import AttentionLayer, select_layers, self_attention_layers
from qnerf.attention.settings import CaptureSettings
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import MethodSettings
from qnerf.reports.queries import interval_picture
from qnerf.runs.files import write_image
from qnerf.runs.plan import plan_method
from qnerf.runs.work import Workshop
from qnerf.schedules.edit import run_schedule
from qnerf.schedules.job import EditJob

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edit:
    """One method's edit. latents: (N, 4, h, w). field_depth: (N, rows, columns) expected depth of the last field, if any.

    explained: step and R² by layer, of each field. pictures: title and file.
    """

    name: str
    latents: Tensor
    field_depth: Tensor | None
    seconds: float
    explained: Sequence[tuple[int, Mapping[str, float]]]
    pictures: Sequence[tuple[str, Path]]


def captured_layers(backbone: DiffusionBackbone, capture: CaptureSettings) -> tuple[AttentionLayer, ...]:
    """The layers of a capture set. Raises UserError for an index that the backbone does not have."""
    return select_layers(self_attention_layers(backbone.unet), capture.layers, "capture.layers")


def edit_by(work: Workshop, job: EditJob, name: str, method: MethodSettings) -> Edit:
    """The edit by one method, from the run folder where it is finished already."""
    store = work.folder.inside("methods")
    work.progress.enter(f"editing: {name}")
    tensors, record = store.load(name), store.load_json(name)
    if tensors is None or record is None:
        tensors, record = _compute(work, job, name, method)
        store.save(name, tensors)
        store.save_json(name, record)
        store.remove(f"{name}-")
    else:
        for kind, units in plan_method(method, len(job.steps), job.views).items():
            work.progress.skip(kind, units)
    explained = [(int(item["step"]), item["explained"]) for item in record["intervals"]]
    pictures = [(item["title"], store.path / item["picture"]) for item in record["intervals"]]
    depth = tensors.get("field_depth")
    return Edit(
        name=name,
        latents=tensors["latents"].to(work.device),
        field_depth=None if depth is None else depth.to(work.device),
        seconds=record["seconds"],
        explained=explained,
        pictures=pictures,
    )


def _compute(work: Workshop, job: EditJob, name: str, method: MethodSettings) -> tuple[dict[str, Tensor], dict]:
    started = time.monotonic()
    layers = captured_layers(work.backbone, method.capture or work.settings.capture)
    checkpoints = work.folder.inside("methods").named(f"{name}-")
    result = run_schedule(method.schedule, method.guidance, layers, job, checkpoints)
    intervals = []
    for record in result.intervals:
        picture = f"{name}_step{record.step:03d}.png"
        write_image(work.folder.path / "methods" / picture, interval_picture(record))
        title = f"{name}, field of step {record.step}: queries, rendered queries (first three components), expected depth"
        intervals.append({"step": record.step, "explained": record.explained, "picture": picture, "title": title})
        log.info("%s, field of step %d explains %s", name, record.step, _brief(record.explained))
    last = {"field_depth": result.intervals[-1].depth} if result.intervals else {}
    return {"latents": result.latents, **last}, {"seconds": time.monotonic() - started, "intervals": intervals}


def _brief(explained: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.2f}" for value in explained.values())
