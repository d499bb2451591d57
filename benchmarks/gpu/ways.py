"""Parts of the stage *time*: a pass run plainly, from a CUDA graph and compiled; the deterministic mode's price."""

from __future__ import annotations

import gc
from copy import copy

import torch

from benchmarks.bench_field import whole_step
from benchmarks.gpu.beside import now, pictures_apart, short_edit
from benchmarks.gpu.results import RESULTS, read
from benchmarks.gpu.stage import Stage, said
from benchmarks.gpu.work import Work, load_work
from qnerf.backbones.acceleration import AcceleratedPasses, accelerate
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.determinism import set_deterministic
from qnerf.graphs import Compiler

REPEATS = 5  # passes, the fastest of which counts


def plain_and_graphed(stage: Stage) -> None:
    """A pass at the batch of an edit, without its editor's changes, plainly and from a CUDA graph."""
    work = load_work(stage)
    model, rows = work.backbone(), work.rows()
    set_deterministic(False)  # as runs do: cuDNN looks for its fastest algorithms
    plain = pass_seconds(model, None, rows)
    note = f"{rows} rows, {work.chunk()} views; float32 latents, {str(model.dtype).split('.')[1]} model"
    stage.report("pass.plain", 1e3 * plain / work.chunk(), note)
    if model.device.type == "cuda":
        report_way(stage, "graph", accelerate("graph", model.device), work, plain)
    else:
        stage.report("pass.graph", None, "not on this machine")


def compiled(stage: Stage) -> None:
    """A compiled pass, beside the plain one. Inductor takes a minute or more: at toy size the pass is traced and not compiled."""
    work = load_work(stage)
    model = work.backbone()
    set_deterministic(False)
    passes = AcceleratedPasses(Compiler(model.device, "eager" if stage.toy else "inductor"), choose=False)
    report_way(stage, "compile", passes, work, pass_seconds(model, None, work.rows()))


def report_way(stage: Stage, way: str, passes: AcceleratedPasses | None, work: Work, plain: float) -> None:
    """A row of passes that are run this way. plain: seconds of the same pass run plainly."""
    started = now()
    seconds = pass_seconds(work.backbone(), passes, work.rows())
    note = f"{seconds / plain:.2f} × plain; {now() - started:.0f} s to prepare and measure"
    stage.report(f"pass.{way}", 1e3 * seconds / work.chunk(), note + (", traced only" if stage.toy else ""))


@torch.no_grad()
def pass_seconds(model: DiffusionBackbone, passes: AcceleratedPasses | None, rows: int) -> float:
    """Seconds of a pass with one ControlNet. Raises RuntimeError where it was to be recorded and could not be."""
    twin = copy(model)  # shares the weights
    twin.passes = passes
    text = model.embed(["a figure"]).expand(rows, -1, -1)
    control = torch.rand((rows, 3, *model.image_size), device=model.device)
    latents = torch.randn((rows, model.latent_channels, *model.latent_size), device=model.device)

    def call() -> float:
        started = now()
        twin.predict(latents, 500, Conditioning.of(text, control))
        return now() - started

    with said("qnerf.backbones.acceleration") as sentences:
        for _ in range(3):  # the first plainly, the second recorded, the third replayed
            call()
    if passes is not None and not passes.kept:
        raise RuntimeError(" ".join(sentences))
    return min(call() for _ in range(REPEATS))


def deterministic_mode(stage: Stage) -> None:
    """Its price, by a pass and by a field's step; and two equal runs."""
    work = load_work(stage)
    model = work.backbone()
    seconds = {}
    try:
        for wanted in (False, True):
            set_deterministic(wanted)
            seconds[wanted] = pass_seconds(model, None, work.rows())
        note = f"{1e3 * seconds[True]:.1f} against {1e3 * seconds[False]:.1f} ms, {work.rows()} rows, run plainly"
        stage.report("deterministic.pass", seconds[True] / seconds[False], note)
        report_field_price(stage, work, model.device)
    finally:
        set_deterministic(False)
    gc.collect()
    runs = [work.run(f"same-{which}", *short_edit(work), "deterministic=true") for which in "ab"]
    apart = pictures_apart(runs)
    stage.report("deterministic.pixels", float(apart.max()), f"{int((apart > 0).sum())} of {apart.size} numbers differ")


def report_field_price(stage: Stage, work: Work, device: torch.device) -> None:
    """A field's step in this mode, in plain torch, over the fastest of the usual ones."""
    found = read(stage.out / RESULTS).found
    usual = {row: line["value"] for row, line in found.items() if row.startswith("field.") and line["value"]}
    if not usual:
        raise RuntimeError("no field step was measured in the usual mode")
    fastest = min(usual, key=usual.__getitem__)
    mine = 1e3 * whole_step("torch", device, *work.field_step())
    note = f"plain torch {mine:.2f} ms; usual: {fastest.removeprefix('field.')} {usual[fastest]:.2f} ms"
    stage.report("deterministic.field", mine / usual[fastest], note)
