"""The edit by each method: computed once for all runs that share it, resumed from its last finished interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from qnerf.attention.layers import AttentionLayer, select_layers
from qnerf.attention.settings import RecorderSettings
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.files import Pixels, write_image, write_json
from qnerf.common.tensors import write_tensors
from qnerf.config import MAIN_METHOD, MethodSettings
from qnerf.consolidation.job import EditJob
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source_cache import SourceCache
from qnerf.editors.editor import EditorSettings
from qnerf.fields.space import Space
from qnerf.reports.queries import interval_picture
from qnerf.runs.inverting import Branch
from qnerf.runs.plan import plan_method
from qnerf.runs.work import Controls, Workshop
from qnerf.store.entry import Artefact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Edit:
    """One method's edit. latents: (N, 4, h, w), in the host's memory. field_depth: (N, rows, columns) expected depth of the last
    field, on the device, if any.

    seconds: what it took to compute, stages that other runs share counted in. r2: step and R² by layer, of each field.
    pictures: title and file.
    """

    name: str
    method: MethodSettings
    latents: Tensor
    field_depth: Tensor | None
    seconds: float
    r2: Sequence[tuple[int, Mapping[str, float]]]
    pictures: Sequence[tuple[str, Path]]


class StoredIntervals:
    """The finished intervals of one method, kept in the store. spared: seconds that other attempts and runs have spent."""

    def __init__(self, work: Workshop, method: MethodSettings) -> None:
        self.work = work
        self.method = method
        self.spared = 0.0

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The packed interval that ends at state `stop`, in the host's memory."""
        started = time.monotonic()
        found = self.work.store.once(self.work.stages.interval(self.method, stop), lambda: Artefact(compute()))
        self.spared += max(found.seconds - (time.monotonic() - started), 0.0)
        return found.tensors

    def drop_own(self) -> None:
        """Drops the intervals that no other edit can go on from, once the edit is kept: all but the first, which other runs share,
        and those that a method of this run still waits for."""
        stages, store = self.work.stages, self.work.store
        waiting = [method for method in self.work.settings.methods().values() if not store.has(stages.edit(method))]
        wanted = {key for method in waiting for key in stages.intervals(method)}
        for key in stages.intervals(self.method)[1:]:
            if key not in wanted:
                store.drop(key)


def recorded_layers(backbone: DiffusionBackbone, recorder: RecorderSettings) -> tuple[AttentionLayer, ...]:
    """The layers of a recorder. Raises UserError for an index that the backbone does not have."""
    return select_layers(backbone.layers, recorder.layers, "recorder.layers")


def make_job(work: Workshop, controls: Controls, branch: Branch, trajectory: Trajectory, oracle: Trajectory | None) -> EditJob:
    """What all methods of the run edit."""
    settings, scene = work.settings, work.scene
    return EditJob(
        backbone=work.backbone,
        steps=work.steps,
        trajectory=trajectory,
        source=branch,
        target=Conditioning.of(work.text(scene.target_prompt), controls.target, settings.control.scale),
        region=controls.region,
        editor=settings.editor.build(),
        guidance_scale=settings.edit_scale(settings.methods()[MAIN_METHOD]),
        cameras=scene.cameras,
        space=Space(scene.focus, scene.radius),
        field=settings.field,
        rgb_field=settings.rgb_field,
        seed=settings.seed,
        chunk_size=settings.chunk_size,
        oracle=oracle,
        target_depth=controls.depth,
        on_work=work.progress.advance,
        source_cache=SourceCache(settings.editor.cache_gib),
        view_names=scene.view_names,
    )


def with_editor(job: EditJob, editor: EditorSettings, guidance_scale: float) -> EditJob:
    """The job by another editor, which reads other keys and values of the source branch, if any."""
    if editor == job.editor.settings:
        return job
    cache = SourceCache(editor.cache_gib)
    return replace(job, editor=editor.build(), guidance_scale=guidance_scale, source_cache=cache)


def edit_by(work: Workshop, job: EditJob, name: str, method: MethodSettings) -> Edit:
    """The edit by one method, with its latents and its fields' pictures in the run folder."""
    work.progress.enter(f"editing: {name}")
    intervals, before = StoredIntervals(work, method), dict(work.progress.left)
    found = work.store.once(work.stages.edit(method), lambda: _compute(work, replace(job, method=name), method, intervals))
    intervals.drop_own()
    for kind, units in plan_method(method, len(job.steps), job.views).items():  # what other attempts and runs have done
        done = before.get(kind, 0.0) - work.progress.left.get(kind, 0.0)
        work.progress.skip(kind, max(units - done, 0.0))
    pictures = _write(work.folder.path / "methods", name, found)
    depth = found.tensors.get("field_depth")
    return Edit(
        name=name,
        method=method,
        latents=found.tensors["latents"],
        field_depth=None if depth is None else depth.to(work.device),
        seconds=found.seconds,
        r2=[(int(item["step"]), item["r2"]) for item in found.record],
        pictures=pictures,
    )


def _compute(work: Workshop, job: EditJob, method: MethodSettings, intervals: StoredIntervals) -> Artefact:
    started = time.monotonic()
    layers = recorded_layers(work.backbone, method.recorder or work.settings.recorder)
    job = with_editor(job, method.editor or work.settings.editor, work.settings.edit_scale(method))
    result = method.schedule.build().edit(method.guidance.build(), layers, job, intervals)
    record, pictures = [], {}
    for interval in result.intervals:
        picture = f"step{interval.step:03d}.png"
        pictures[picture] = interval_picture(interval)
        record.append({"step": interval.step, "r2": interval.r2, "picture": picture})
        log.info("field of step %d has R² %s", interval.step, _brief(interval.r2))
    last = {"field_depth": result.intervals[-1].depth} if result.intervals else {}
    seconds = time.monotonic() - started + intervals.spared
    return Artefact({"latents": result.latents, **last}, record, pictures, seconds)


def _write(folder: Path, name: str, edit: Artefact) -> list[tuple[str, Path]]:
    """An edit's files in the run folder, which outlive the store's; the titles and files of its pictures."""
    write_tensors(folder / f"{name}.safetensors", edit.tensors)
    write_json(folder / f"{name}.json", {"seconds": edit.seconds, "intervals": edit.record})
    return [_write_picture(folder, name, item, edit.pictures[item["picture"]]) for item in edit.record]


def _write_picture(folder: Path, name: str, item: Mapping[str, int | str], pixels: Pixels) -> tuple[str, Path]:
    path = folder / f"{name}_{item['picture']}"
    write_image(path, pixels)
    return f"{name}, field of step {item['step']}: queries, rendered queries (first three components), expected depth", path


def _brief(r2: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.2f}" for value in r2.values())
