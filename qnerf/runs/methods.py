"""The edit by one method: with a store, computed once for all runs that share it, and resumed from its last finished interval."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from qnerf.attention.layers import AttentionLayer, select_layers
from qnerf.attention.settings import RecorderSettings
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.words import Prompts
from qnerf.common.files import Pixels
from qnerf.common.finite import require_finite
from qnerf.common.messages import sentence
from qnerf.config import MAIN_METHOD, MethodSettings, RunSettings
from qnerf.consolidation.job import EditJob, Posed
from qnerf.denoising.ddim import Trajectory
from qnerf.denoising.source_cache import SourceCache
from qnerf.editors.combined import build_editor
from qnerf.errors import UserError
from qnerf.fields.space import Space
from qnerf.reports.export import export_views
from qnerf.reports.full_size import export_full_size
from qnerf.reports.images import to_pixels
from qnerf.reports.queries import interval_picture
from qnerf.runs.inverting import Inverted, invert_truth, text_of
from qnerf.runs.pictures import decode
from qnerf.runs.plan import method_follows_posed, plan_method
from qnerf.runs.posing import pose
from qnerf.runs.progress import Progress
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.kept import change_mask, keep_pixels, keep_posed
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.scene import Scene
from qnerf.store.entry import Artefact

log = logging.getLogger(__name__)

OF_THE_INVERSION = ("scene", "backbone", "control", "inversion", "steps", "negative_prompt")
"""The settings that an edit must share with the inversion that it starts from."""


@dataclass(frozen=True)
class TrainedField:
    """One query field of an edit. step: whose queries it was trained on. r2: R² by layer. picture: queries, rendered queries (first
    three components) and expected depth of up to six views, (H, W, 3) bytes."""

    step: int
    r2: Mapping[str, float]
    picture: Pixels = field(repr=False)


@dataclass(frozen=True)
class Edited:
    """The views of a scene, edited by one method.

    method: its name in `settings.methods()`. images: the output, (N, 3, H, W) float32 in [0, 1], on the scene's device, in the
    order of `scene.view_names`. decoded: the model's own pictures, likewise; the output is made of them. drawn: decoded, with the
    posed views' pixels where such are kept. mask: (N, H, W) in [0, 1], how far drawn counts in the output; the rest is the source's
    pixels. None: no pixels are kept, and the output is `decoded`.
    latents: (N, 4, h, w) float32 in the host's memory, which were decoded. field_depth: (N, rows, columns) expected depth of the
    last query field, world units, on the device; None: the method trains none. fields: every query field, in the order of
    training. seconds: what the latents took to compute, stages that other runs share counted in.
    """

    method: str
    scene: Scene = field(repr=False)
    images: Tensor = field(repr=False)
    decoded: Tensor = field(repr=False)
    drawn: Tensor = field(repr=False)
    mask: Tensor | None = field(repr=False)
    latents: Tensor = field(repr=False)
    field_depth: Tensor | None = field(repr=False)
    fields: tuple[TrainedField, ...] = field(repr=False)
    seconds: float

    @property
    def view_names(self) -> tuple[str, ...]:
        """Of the N views, in the order of the images."""
        return self.scene.view_names

    @property
    def r2(self) -> dict[int, Mapping[str, float]]:
        """R² of each query field, by the step that it was trained at and by layer."""
        return {trained.step: trained.r2 for trained in self.fields}

    def save(self, folder: Path | str) -> None:
        """Writes edited/<view>.png and transforms.json into the folder: a capture again, for nerfstudio, gsplat and qnerf itself.
        Where pixels are kept and the photographs are larger than the views, edited/full/ is the same at their own resolution.
        Files of these names are replaced."""
        export_views(Path(folder), [to_pixels(image) for image in self.images], self.scene)
        if self.mask is not None and self.scene.photographs is not None:
            export_full_size(Path(folder) / "edited" / "full", self.drawn, self.mask, self.scene)


class StoredIntervals:
    """One method's finished intervals, in the store if there is one. spared: seconds that other attempts and runs have spent."""

    def __init__(self, work: Workshop, method: MethodSettings) -> None:
        self.work = work
        self.method = method
        self.spared = 0.0

    def once(self, stop: int, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The packed interval that ends at state `stop`, in the host's memory."""
        started = time.monotonic()
        found = self.work.once(lambda stages: stages.interval(self.method, stop), lambda: Artefact(compute()))
        self.spared += max(found.seconds - (time.monotonic() - started), 0.0)
        return found.tensors

    def drop_own(self) -> None:
        """Drops the intervals that no other edit can go on from, once the edit is kept: all but the first, which other runs share,
        and those that a method of this run still waits for."""
        if self.work.kept is None:
            return
        stages, store = self.work.kept.stages, self.work.kept.store
        waiting = [method for method in stages.settings.methods().values() if not store.has(stages.edit(method))]
        wanted = {key for method in waiting for key in stages.intervals(method)}
        for key in stages.intervals(self.method)[1:]:
            if key not in wanted:
                store.drop(key)


def edit(settings: RunSettings, inverted: Inverted, method: str = MAIN_METHOD, work: Workshop = ALONE) -> Edited:
    """All views, edited by one of `settings.methods()`: "full", the main one, or a baseline by its name, such as "independent".

    settings: may differ from those of the inversion in all that concerns the edit alone, such as guidance, schedule, editor, field
    and baselines. work: a run's store and progress; by default nothing is kept. Raises UserError for a method that is not of the
    settings, settings that ask for another inversion, an oracle without truth, and latents or pictures that are not finite.
    """
    chosen = _method(settings, method)
    _check_inversion(settings, inverted)
    names, backbone = inverted.view_names, inverted.backbone
    oracle = invert_truth(inverted, work) if chosen.schedule.reads_truth else None
    follows = method_follows_posed(settings, chosen)
    posed = pose(settings, inverted, follows, work) if follows or chosen.schedule.reads_posed else None
    work.progress.enter(f"editing: {method}")
    layers, intervals = recorded_layers(backbone, chosen.recorder or settings.recorder), StoredIntervals(work, chosen)

    def compute() -> Artefact:
        job = replace(make_job(settings, inverted, method, oracle, work.progress), posed=posed)
        return _compute(job, layers, chosen, intervals)

    with work.progress.expecting(plan_method(chosen, settings.steps, len(names))):
        found = work.once(lambda stages: stages.edit(chosen), compute)
    intervals.drop_own()
    latents, depth = found.tensors["latents"], found.tensors.get("field_depth")
    require_finite(latents, "the edit's latents", names, method)
    if depth is not None:
        require_finite(depth, "the depth of the edit's last field", names, method)
    decoded = found.tensors["images"].to(backbone.device) if "images" in found.tensors else None
    if decoded is None:
        decoded = decode(backbone, latents, settings.chunk_size, work.progress)
    require_finite(decoded, "decoding the edit: pictures", names, method, backbone.dtype)
    mask = _change_mask(inverted, posed) if settings.output.keep_pixels else None
    drawn = decoded if mask is None or posed is None else keep_posed(decoded, posed.images, posed.moved, posed.trust)
    return Edited(
        method=method,
        scene=inverted.scene,
        images=drawn if mask is None else keep_pixels(drawn, inverted.scene.images, mask),
        decoded=decoded,
        drawn=drawn,
        mask=mask,
        latents=latents,
        field_depth=None if depth is None else depth.to(backbone.device),
        fields=tuple(TrainedField(int(item["step"]), item["r2"], found.pictures[item["picture"]]) for item in found.record),
        seconds=found.seconds,
    )


def _change_mask(inverted: Inverted, posed: Posed | None) -> Tensor:
    """How far each pixel may change, (N, H, W), for a method that reads the posed views, or for one that does not."""
    if posed is None:
        return inverted.change_mask
    return change_mask(inverted.scene, inverted.settings.control.margin, (posed.changed, posed.trust))


def recorded_layers(backbone: DiffusionBackbone, recorder: RecorderSettings) -> tuple[AttentionLayer, ...]:
    """The layers of a recorder. Raises UserError for an index that the backbone does not have."""
    return select_layers(backbone.layers, recorder.layers, "recorder.layers")


def make_job(settings: RunSettings, inverted: Inverted, name: str, oracle: Trajectory | None, progress: Progress) -> EditJob:
    """What a method edits. Methods by the editor of the inversion's settings share what it reads of the source branch."""
    method = settings.methods()[name]
    editor = method.editor or settings.editor
    shares = editor == inverted.settings.editor
    scene, backbone, controls = inverted.scene, inverted.backbone, inverted.controls
    depth = None
    if (settings.field.depth_weight > 0 or method.schedule.reads_bounds) and scene.proxy is not None:
        depth = bounds_distance(scene.proxy, "target", scene.cameras, backbone.image_size).to(backbone.device)
    return EditJob(
        backbone=backbone,
        steps=backbone.process.steps(settings.steps),
        trajectory=inverted.trajectory,
        source=inverted.branch,
        target=Conditioning(text_of(backbone, scene.target_prompts), controls.target),
        region=controls.region,
        editor=build_editor(editor),
        guidance_scale=settings.edit_scale(method),
        cameras=scene.cameras,
        space=Space(scene.focus, scene.radius),
        field=settings.field,
        rgb_field=settings.rgb_field,
        seed=settings.seed,
        chunk_size=settings.chunk_size,
        oracle=oracle,
        target_depth=depth,
        on_work=progress.advance,
        on_more=progress.more,
        on_loss=progress.loss,
        on_field=partial(progress.field, name),
        on_clean=partial(progress.clean, name),
        on_disagreement=progress.disagreement(name),
        source_cache=inverted.source_cache if shares else SourceCache(editor.cache_gib),
        method=name,
        view_names=scene.view_names,
        prompts=tuple(Prompts(*each) for each in scene.prompts),
    )


def _method(settings: RunSettings, name: str) -> MethodSettings:
    methods = settings.methods()
    if name not in methods:
        raise UserError(
            sentence("method", f"{name!r} is no method of these settings", name, methods) + "; add it with baselines=[…]"
        )
    return methods[name]


def _check_inversion(settings: RunSettings, inverted: Inverted) -> None:
    """Raises UserError where the settings ask for another inversion than there is."""
    differ = [key for key in OF_THE_INVERSION if getattr(settings, key) != getattr(inverted.settings, key)]
    if differ:
        raise UserError(
            f"{', '.join(differ)}: not as in the settings that the views were inverted with; expected equal ones: invert the views "
            "again with these settings"
        )


def _compute(job: EditJob, layers: tuple[AttentionLayer, ...], method: MethodSettings, intervals: StoredIntervals) -> Artefact:
    started = time.monotonic()
    result = method.schedule.build().edit(method.guidance.build(), layers, job, intervals)
    record, pictures = [], {}
    for interval in result.intervals:
        picture = f"step{interval.step:03d}.png"
        pictures[picture] = interval_picture(interval)
        record.append({"step": interval.step, "r2": interval.r2, "picture": picture})
        log.info("field of step %d has R² %s", interval.step, _brief(interval.r2))
    last = {"field_depth": result.intervals[-1].depth} if result.intervals else {}
    last |= {} if result.images is None else {"images": result.images}
    seconds = time.monotonic() - started + intervals.spared
    return Artefact({"latents": result.latents, **last}, record, pictures, seconds)


def _brief(r2: Mapping[str, float]) -> str:
    return ", ".join(f"{value:.2f}" for value in r2.values())
