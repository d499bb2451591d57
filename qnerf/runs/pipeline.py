"""The run, from settings to report, as eight numbered paragraphs: the functions of `import qnerf` with a store, progress and a
tracker beside them. Each leaves an artefact that a resumed run reuses."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from omegaconf import OmegaConf

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.files import write_text
from qnerf.common.installation import commit
from qnerf.config import RunSettings
from qnerf.reports.attention import write_attention
from qnerf.reports.strip import write_strip
from qnerf.runs.beat import Beat, SweepPlace
from qnerf.runs.ending import exit_code, termination
from qnerf.runs.finished import FINISHED
from qnerf.runs.folder import CONFIG, RunFolder
from qnerf.runs.identity import Inputs, read_inputs, run_folder, store_folder
from qnerf.runs.inverting import invert
from qnerf.runs.loading import load_backbone, load_scene
from qnerf.runs.logs import RunLog
from qnerf.runs.looking import look
from qnerf.runs.measuring import measured
from qnerf.runs.memory import within_memory
from qnerf.runs.methods import edit
from qnerf.runs.outcome import Outcome, Results, write_edit, write_outcome
from qnerf.runs.plan import plan_work, work_weights
from qnerf.runs.previews import Previews
from qnerf.runs.progress import RunProgress
from qnerf.runs.reconstruction import reconstruction_psnr
from qnerf.runs.recording import record_outcome
from qnerf.runs.round_trip import round_trip_psnr
from qnerf.runs.stages import Stages
from qnerf.runs.tracking import tell_inversion, tell_of_finished, tell_sources, tracked_run
from qnerf.runs.work import StageStore, Workshop
from qnerf.scenes.scene import Scene
from qnerf.store.store import Store
from qnerf.trackers.record import record_field, record_fields, record_figures, record_step
from qnerf.trackers.together import Together

log = logging.getLogger(__name__)


GIB = 2**30


def run(settings: RunSettings, command: str, place: SweepPlace | None = None) -> Path:
    """Runs to the end, or finds that an earlier run has; returns the run folder. place: of a sweep's cell. Raises UserError for
    what the user can correct."""
    settings = within_memory(settings)
    with RunLog() as run_log, ExitStack() as stack:
        stack.enter_context(termination())
        # 1. Settings are typed and checked. The scene, on this machine's device.
        scene = load_scene(settings)
        # 2. The diffusion model.
        backbone = load_backbone(settings)
        # 3. The run's identity and its folder, which may hold a finished or an interrupted run.
        stages = Stages(settings, run_inputs(settings, backbone))
        name = stages.identity()
        folder = stack.enter_context(RunFolder(run_folder(settings, name)))
        if folder.is_done:
            tell_of_finished(settings, folder.path, place)
            log.info(FINISHED.format(folder.path))
            return folder.path
        run_log.attach(folder.path)
        source = commit()  # now, since a checkout may change while the run works
        plain = settings.model_dump(mode="json")
        write_text(folder.path / CONFIG, f"# {command}\n{OmegaConf.to_yaml(OmegaConf.create(plain))}")
        tell_of_busy_machine()
        progress = stack.enter_context(RunProgress(plan_work(settings, len(scene.cameras)), work_weights(settings)))
        tracker = Together(settings.tracker, tracked_run(settings, folder.path, place))
        progress.beat = Beat(folder.path, tracker, place)
        summary, code = {}, 0
        try:
            strip = write_strip(folder.path / "methods" / "source_views.png", scene.images)
            tracker.image("source", strip)
            tell_sources(tracker, settings, folder.path, stages.inputs.scene, scene.view_names, strip)
            progress.on_field = partial(record_field, tracker)
            if tracker.others:
                progress.on_disagreement = partial(record_step, tracker)
            if tracker.others and not backbone.offloaded:
                progress.on_clean = Previews(folder.path / "methods", backbone, tracker, settings.steps)
            work = Workshop(StageStore(open_store(settings), stages), progress)
            results = produce(settings, scene, backbone, work, folder.path, tracker)
            summary = {outcome.method: dict(outcome.figures) for outcome in results.outcomes}
            # 8. Everything is written down.
            progress.enter("writing the report")
            write_outcome(folder.path, results, command, run_log.warnings)
            record_outcome(tracker, folder.path, results)
            folder.mark_done(source, stages.inputs.weights)
        except BaseException as error:
            code = exit_code(error)
            raise
        finally:
            tracker.finish(summary, code)
        log.info("%s", results.verdict())
        if results.keeps_pixels and results.rival is not None:
            log.info("The model's own pictures, without kept pixels: %s", results.verdict(as_decoded=True))
        log.info("Pictures and figures: %s (open report.html)", folder.path)
        return folder.path


def produce(
    settings: RunSettings, scene: Scene, backbone: DiffusionBackbone, work: Workshop, folder: Path, tracker: Together
) -> Results:
    """From a scene to measured edits by every method."""
    # 4. Encode and invert every view, under the proxy drawn into it.
    kept = work.kept
    is_inverted = kept is not None and kept.store.has(kept.stages.inversion())
    inverted = invert(settings, scene, backbone, work)
    # 5. How well does the inversion reconstruct the views? And what does the autoencoder alone leave of the object?
    reconstruction, round_trip = reconstruction_psnr(inverted, work), round_trip_psnr(inverted, work)
    if kept is not None:
        tell_inversion(tracker, settings, kept.stages, sum(reconstruction.values()) / len(reconstruction), not is_inverted)
    if settings.attention is not None:
        write_attention(folder, look(inverted, settings.attention, work))
        log.info("What the model attends to: open %s", folder / "attention.html")
    # 6. Edit all views by each method.
    edits = []
    for name in settings.methods():
        edited = edit(settings, inverted, name, work)
        edits.append((edited, write_edit(folder / "methods", edited)))
        tracker.image(f"{name}/views", write_strip(folder / "methods" / f"{name}_views.png", edited.images))
        record_fields(tracker, name, list(edited.r2.items()), edits[-1][1])
    # 7. Measure the edits.
    outcomes = []
    for edited, pictures in edits:
        output, decoded = (measured(settings, scene, edited, work, as_decoded) for as_decoded in (False, True))
        record_figures(tracker, edited.method, output.figures, decoded.figures, settings.steps)
        outcomes.append(Outcome(edited, output.figures, decoded.figures, pictures, output.shown))
    return Results(settings, scene, outcomes, reconstruction, round_trip)


def tell_of_busy_machine() -> None:
    """Says so where other work has the cores: the threads of an operation then wait for the last of them."""
    load, cores, threads = os.getloadavg()[0], os.cpu_count() or 1, torch.get_num_threads()
    if threads > 1 and load > cores:
        log.info(
            "Other work keeps this machine busy (load %.1f, %d cores). With one thread this run may be several times faster: "
            "stop it, and start it again with OMP_NUM_THREADS=1.",
            load,
            cores,
        )


def run_inputs(settings: RunSettings, backbone: DiffusionBackbone) -> Inputs:
    """The hashes of scene and weights, once the weights are certainly here."""
    inputs = read_inputs(settings)
    return inputs if inputs.weights is not None else replace(inputs, weights=backbone.revision)


def open_store(settings: RunSettings) -> Store:
    """The artefact store that the settings name."""
    limit = settings.store.max_gib
    return Store(store_folder(settings), None if limit is None else limit * GIB)
