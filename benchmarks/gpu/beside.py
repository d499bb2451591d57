"""Parts of the stage *time*: our independent edit beside diffusers' pipeline, runs under a cap of memory, and two equal runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionControlNetPipeline

from benchmarks.bench_edit import EDIT
from benchmarks.gpu.stage import Stage
from benchmarks.gpu.work import Work, load_work
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.common.files import read_image

CONTEXT_GIB = 0.5
"""What the CUDA context and its kernels take beside PyTorch's memory: a cap leaves so much free."""
TIERS = (24, 16, 12)
SHORT = 4  # steps, where their number does not matter
LADDER = (  # settings that trade time for memory, the most generous first; each cap begins with what the one above it needed
    ("chunk_size=4",),
    ("chunk_size=2", "editor.source_cache_gib=0.25", "field.device_gib=2"),
    ("chunk_size=1", "editor.source_cache_gib=0", "field.device_gib=0"),
)


def beside_diffusers(stage: Stage) -> None:
    """Seconds a view and step of the independent edit (one pass: no MasaCtrl, no second control) over diffusers' own pipeline's."""
    work, steps = load_work(stage), 2 if stage.toy else 20
    settings = (f"steps={steps}", "schedule=independent", "editor=plain")
    runs = [work.run(f"beside-{which}", *settings) for which in "ab"]  # the first warms up
    mine = min(run["seconds"]["plain steps"] for run in runs) / (work.views * steps)
    batch = min(runs[0]["chunk"], work.views)
    theirs = diffusers_seconds(work.backbone(), batch, steps)
    note = f"ours {1e3 * mine:.1f} ms, theirs {1e3 * theirs:.1f} ms; {steps} steps, batches of {batch}, no classifier-free guidance"
    note += "" if torch.cuda.is_available() else "; on a busy machine ± 30 %"
    stage.report("diffusers", mine / theirs, note)


def diffusers_seconds(model: DiffusionBackbone, batch: int, steps: int) -> float:
    """Seconds a view and step of StableDiffusionControlNetPipeline with the same weights, latents in and latents out."""
    parts: Any = model.parts
    pipe = StableDiffusionControlNetPipeline(
        vae=parts.vae, text_encoder=parts.text_encoder, tokenizer=parts.tokenizer, unet=parts.unet, controlnet=parts.controlnet,
        scheduler=DDIMScheduler.from_config(parts.scheduler.config), safety_checker=None, feature_extractor=None,  # pyright: ignore
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    height, width = model.image_size
    latents = torch.randn((batch, 4, *model.latent_size), device=model.device, dtype=model.dtype)
    control = torch.rand((batch, 3, height, width), device=model.device, dtype=model.dtype)
    given = {"height": height, "width": width, "latents": latents, "output_type": "latent"}

    def call() -> float:
        started = now()
        pipe(["a figure"] * batch, control, num_inference_steps=steps, guidance_scale=1.0, **given)
        return (now() - started) / (batch * steps)

    call()  # warms up
    return min(call() for _ in range(3))


def now() -> float:
    """The clock, once the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def by_cap(stage: Stage) -> None:
    """The full edit in as little memory as smaller cards have, with the most generous settings that it can be run with there."""
    work, rung = load_work(stage), 0
    for tier in TIERS:
        with capped(tier):
            found, rung = run_down_the_ladder(work, tier, rung)
        if found is None:
            stage.report(f"cap.{tier}", None, f"out of memory with {' '.join(LADDER[-1])}")
            continue
        edit = sum(found["seconds"].get(name, 0.0) for name in ("guided steps", "plain steps"))
        note = f"{' '.join(LADDER[rung])}; the steps of {SHORT} take {edit:.1f} s, so those of 50 {edit * 50 / SHORT:.0f} s"
        peak = max(found["gpu"].values(), default=found["peak_mib"]) / 1024
        stage.report(f"cap.{tier}", peak, note if torch.cuda.is_available() else f"no GPU, so no cap was set; {note}")


def run_down_the_ladder(work: Work, tier: int, rung: int) -> tuple[dict[str, Any] | None, int]:
    """A short full edit with the first settings from `rung` on that the memory suffices for, and which they are.

    None where it suffices for none.
    """
    while rung < len(LADDER):
        work.forget_recordings()  # and with them what the last attempt left in its traceback
        try:
            steps = (f"steps={SHORT}", "schedule.interval=2", *work.consolidated(3 if work.toy else 100), *LADDER[rung])
            return work.run(f"cap-{tier}-{rung}", *steps), rung
        except torch.OutOfMemoryError:
            rung += 1
    return None, len(LADDER) - 1


@contextmanager
def capped(gigabytes: int) -> Iterator[None]:
    """PyTorch gets no more of the GPU's memory than a card of this size would leave it."""
    if not torch.cuda.is_available():
        yield
        return
    whole = torch.cuda.get_device_properties(0).total_memory / 2**30
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (gigabytes - CONTEXT_GIB) / whole))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def equal_runs(stage: Stage) -> None:
    """A short full edit twice, each from nothing: how far its time and its pictures differ."""
    work = load_work(stage)
    runs = [work.run(f"equal-{which}", *short_edit(work)) for which in "ab"]
    first, second = (sum(run["seconds"].get(name, 0.0) for name in EDIT) for run in runs)
    note = f"{SHORT} steps, {first:.2f} and {second:.2f} s"
    stage.report("spread.time", 100 * abs(first - second) / min(first, second), note)
    apart = pictures_apart(runs)
    stage.report("spread.pixels", float(apart.mean()), f"largest {apart.max():.0f}")


def short_edit(work: Work) -> tuple[str, ...]:
    """Overrides of a full edit in a few steps."""
    return (f"steps={SHORT}", "schedule.interval=2", *work.consolidated(3 if work.toy else 200))


def pictures_apart(runs: list[dict[str, Any]]) -> np.ndarray:
    """|difference| of two runs' edited views, (N, H, W, 3), of 255."""
    pictures = [np.stack([read_image(path) for path in sorted(Path(run["folder"], "edited").glob("*.png"))]) for run in runs]
    return np.abs(pictures[0].astype(np.float64) - pictures[1])
