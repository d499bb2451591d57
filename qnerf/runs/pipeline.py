"""The run, from settings to report, as ten numbered paragraphs. Each leaves an artefact that a resumed run reuses."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.files import write_text
from qnerf.common.finite import require_finite
from qnerf.config import RunSettings
from qnerf.determinism import set_deterministic
from qnerf.devices import pick_device
from qnerf.errors import UserError
from qnerf.metrics.evaluate import evaluate_group, in_order
from qnerf.runs.folder import CONFIG, RunFolder
from qnerf.runs.identity import Inputs, read_inputs, run_folder, store_folder
from qnerf.runs.inverting import invert, source_branch
from qnerf.runs.logs import RunLog
from qnerf.runs.methods import Edit, edit_by, make_job, recorded_layers
from qnerf.runs.outcome import Outcome, Results, write_outcome
from qnerf.runs.plan import plan_work, uses_oracle, work_weights
from qnerf.runs.progress import RunProgress
from qnerf.runs.reconstruction import reconstruction_psnr
from qnerf.runs.stages import Stages
from qnerf.runs.work import Workshop, decode, draw_controls
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene, Truth
from qnerf.store.entry import Artefact
from qnerf.store.store import Store
from qnerf.trackers.record import record_edit

log = logging.getLogger(__name__)


GIB = 2**30


def run(settings: RunSettings, command: str) -> Path:
    """Runs to the end, or finds that an earlier run has; returns the run folder. Raises UserError for what
    the user can correct."""
    with RunLog() as run_log, ExitStack() as stack:
        # 1. Settings are typed and checked; is this machine what they ask for?
        device = pick_device(settings.device)
        set_deterministic(settings.deterministic)
        # 2. The scene.
        scene = on_device(read_scene(settings.scene), device)
        check_scene(settings, scene)
        # 3. The diffusion model.
        backbone = settings.backbone.build(device).for_control(settings.control.detail)
        check_backbone(settings, backbone)
        # 4. The run's identity and its folder, which may hold a finished or an interrupted run.
        stages = Stages(settings, run_inputs(settings, backbone))
        name = stages.identity()
        folder = stack.enter_context(RunFolder(run_folder(settings, name)))
        if folder.is_done:
            log.info("Finished already, nothing to do: %s", folder.path)
            return folder.path
        run_log.attach(folder.path)
        plain = settings.model_dump(mode="json")
        write_text(folder.path / CONFIG, f"# {command}\n{OmegaConf.to_yaml(OmegaConf.create(plain))}")
        progress = stack.enter_context(RunProgress(plan_work(settings, len(scene.cameras)), work_weights(settings)))
        tracker = settings.tracker.build(folder.path, name, plain)
        warn_of_foreign_scene(settings, scene, backbone)
        work = Workshop(settings, scene, backbone, device, folder, open_store(settings), stages, progress, tracker)
        results = complete(work, command, run_log.warnings)
        log.info("%s", results.verdict())
        log.info("Pictures and figures: %s (open report.html)", folder.path)
        return folder.path


def complete(work: Workshop, command: str, warnings: Sequence[str]) -> Results:
    """All that is left of a run once its tools are ready. The tracker is closed whatever happens."""
    summary = {}
    try:
        results = produce(work)
        summary = {outcome.edit.name: dict(outcome.figures) for outcome in results.outcomes}
        write_outcome(work, results, command, warnings)
        work.folder.mark_done()
        return results
    finally:
        work.tracker.finish(summary)


def produce(work: Workshop) -> Results:
    """From a scene to measured edits by every method."""
    settings, scene, progress = work.settings, work.scene, work.progress
    # 5. Controls: the proxy before and after the edit, drawn into every view.
    controls = draw_controls(work)
    # 6. Encode and invert every view, and see how well the inversion reconstructs it.
    progress.enter("inverting the views")
    branch = source_branch(work, scene.source_prompt, controls.source)
    trajectory = invert(work, work.stages.inversion(), branch, scene.images)
    by_view = reconstruction_psnr(work, branch, trajectory)
    oracle = None
    if uses_oracle(settings) and scene.truth is not None:
        progress.enter("inverting the true edited views, for the oracle")
        truth_branch = source_branch(work, scene.target_prompt, controls.target)
        oracle = invert(work, work.stages.inversion("truth"), truth_branch, scene.truth.edited_images)
    # 7. Edit all views by each method.
    job = make_job(work, controls, branch, trajectory, oracle)
    edits = [edit_by(work, job, name, method) for name, method in settings.methods().items()]
    # 8. Decode the edits. 9. Measure them.
    outcomes = [measure(work, edit, decode_edit(work, edit)) for edit in edits]
    common = {"reconstruction_psnr": sum(by_view) / len(by_view)}
    # 10. The caller writes it all down.
    progress.enter("writing the report")
    return Results(outcomes, common, by_view)


def on_device(scene: Scene, device: torch.device) -> Scene:
    """The scene with its images, cameras and truth on the device; the proxy is drawn on the CPU and stays."""
    known = {f.name: value for f in fields(Truth) if (value := getattr(scene.truth, f.name, None)) is not None}
    truth = scene.truth and replace(scene.truth, **{name: value.to(device) for name, value in known.items()})
    moved = {"images": scene.images.to(device), "cameras": scene.cameras.to(device), "focus": scene.focus.to(device)}
    return replace(scene, truth=truth, **moved)


def check_scene(settings: RunSettings, scene: Scene) -> None:
    """Raises UserError where a method asks for what the scene does not have."""
    if scene.truth is None and uses_oracle(settings):
        raise UserError(
            f"{settings.scene.path} has no true edited views (truth/), which the oracle needs; leave it out: "
            "baselines=[independent]"
        )


def check_backbone(settings: RunSettings, backbone: DiffusionBackbone) -> None:
    """Raises UserError where the model does not fit the images or lacks a layer to capture."""
    height, width = backbone.image_size
    if (settings.scene.size, settings.scene.size) != (height, width):
        raise UserError(
            f"scene.size is {settings.scene.size}, but backbone={settings.backbone.name} works at {width} x {height} "
            f"pixels; set scene.size={width}"
        )
    for method in settings.methods().values():
        recorded_layers(backbone, method.recorder or settings.recorder)


def warn_of_foreign_scene(settings: RunSettings, scene: Scene, backbone: DiffusionBackbone) -> None:
    """A warning where the embedded model is shown what it has never seen, or told what it has never read."""
    if not settings.backbone.own_world:
        return
    if scene.truth is None and not settings.scene.path.startswith("asset:"):
        log.warning(
            "The embedded model has only seen rendered puppets, so its pictures of photographs are poor. "
            "Cameras, fields and files are as for any run; for good pictures use backbone=sd15."
        )
    if unknown := unknown_words(backbone, scene.source_prompt, scene.target_prompt):
        log.warning(
            "The embedded model does not know %s and ignores such words: it knows only the words of its "
            "training (docs/embedded-backbone.md).",
            ", ".join(unknown),
        )


def unknown_words(backbone: DiffusionBackbone, *prompts: str) -> list[str]:
    """The prompts' words that are no token of their own, each once: the embedded model's words all are."""
    words = dict.fromkeys(word for prompt in prompts for word in re.findall(r"\w+", prompt.lower()))
    return [word for word in words if len(backbone.tokenizer.tokenize(word)) != 1]


def run_inputs(settings: RunSettings, backbone: DiffusionBackbone) -> Inputs:
    """The hashes of scene and weights, once the weights are certainly here."""
    inputs = read_inputs(settings)
    return inputs if inputs.weights is not None else replace(inputs, weights=backbone.revision)


def open_store(settings: RunSettings) -> Store:
    """The artefact store that the settings name."""
    limit = settings.store.max_gib
    return Store(store_folder(settings), None if limit is None else limit * GIB)


def decode_edit(work: Workshop, edit: Edit) -> Tensor:
    """One method's edited views (N, 3, H, W) in [0, 1]. Raises UserError where latents, pictures or the field's depth have NaN."""
    names = work.scene.view_names
    require_finite(edit.latents, "the edit's latents", names, edit.name)
    if edit.field_depth is not None:
        require_finite(edit.field_depth, "the depth of the edit's last field", names, edit.name)
    images = decode(work, edit.latents)
    require_finite(images, "decoding the edit: pictures", names, edit.name)
    return images


def measure(work: Workshop, edit: Edit, images: Tensor) -> Outcome:
    """The figures of one method's edited views (N, 3, H, W), group by group, recorded with the tracker."""
    work.progress.enter(f"measuring: {edit.name}")
    found = {}
    for group in work.stages.groups():
        key = work.stages.figures(edit.method, group)
        found |= work.store.once(key, lambda group=group: measure_group(work, group, edit, images)).record
    figures = in_order(found)
    work.progress.advance("measure")
    record_edit(work.tracker, edit.name, figures, edit.r2, edit.pictures, work.settings.steps)
    return Outcome(edit, images, figures)


def measure_group(work: Workshop, group: str, edit: Edit, images: Tensor) -> Artefact:
    """One group's figures, as the store keeps them."""
    return Artefact(record=evaluate_group(group, images, work.scene, work.settings, edit.field_depth))
