"""A whole run against its floor, as many bare U-Net passes, stage by stage; and time and memory over the number of views:

    python -m benchmarks.bench_edit                         # the default edit, 12 views
    python -m benchmarks.bench_edit --views 8 16 32 64      # one row a number of views, each in a process of its own
    python -m benchmarks.bench_edit --chunks 1 2 4 8        # likewise over the chunk

What follows `--` goes to the run as overrides: `-- schedule.interval=3`. Scenes are procedural and written to a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import parse
from qnerf.run import CONFIGS
from qnerf.runs import pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from qnerf.schedules import edit

STAGES = {  # where a run's time goes; what one of them calls of another counts for the inner one
    "inversion": (pipeline, "invert"),
    "reconstruction": (pipeline, "reconstruction_psnr"),
    "field training": (edit, "train_field"),
    "rendering queries": (edit, "consolidate"),
    "guided steps": (edit, "guided_steps"),
    "plain steps": (edit, "plain_steps"),
    "feedback": (edit, "feed_back"),
    "decoding": (pipeline, "decode"),
    "figures": (pipeline, "measure"),
    "report": (pipeline, "write_outcome"),
}
EDIT = ("field training", "rendering queries", "guided steps", "plain steps", "feedback")
PREDICT = DiffusionBackbone.predict


def peak_mib() -> float:
    """The process's peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch:
    """Seconds by stage, the MiB by which it has raised the process's peak, and passes of the U-Net by stage, kind (forward alone,
    or forward and backward) and size of the batch."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.passes: Counter[tuple[str, str, int]] = Counter()
        self.grown: defaultdict[str, float] = defaultdict(float)
        self.peak = peak_mib()
        self.running = ["elsewhere"]
        self.bare: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        self.backbone: DiffusionBackbone | None = None
        self.last = time.perf_counter()

    def turn(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self.running[-1]] += now - self.last
        self.grown[self.running[-1]] += peak_mib() - self.peak
        self.peak = peak_mib()
        self.last = now

    def sample(self) -> None:
        """A bare pass of each kind and size that the run has had, between two of its stages: a shared machine's pace changes."""
        for kind, batch in sorted({(kind, batch) for _, kind, batch in self.passes}):
            if self.backbone is not None:
                self.bare[kind, batch].append(bare_seconds(self.backbone, kind, batch))
        self.last = time.perf_counter()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **keywords: Any) -> Any:
            self.turn()
            self.running.append(stage)
            try:
                return function(*arguments, **keywords)
            finally:
                self.turn()
                self.running.pop()
                if self.running == ["elsewhere"]:
                    self.sample()

        return inner

    def counted(self) -> Callable[..., Any]:
        def inner(backbone: DiffusionBackbone, latents: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
            learns = latents.requires_grad or arguments[1].requires_grad  # the latents of guidance, or null-text's embedding
            kind = "backward" if torch.is_grad_enabled() and learns else "forward"
            self.passes[self.running[-1], kind, len(latents)] += 1
            self.backbone = backbone
            return PREDICT(backbone, latents, *arguments, **keywords)

        return inner


def bare_seconds(backbone: DiffusionBackbone, kind: str, batch: int) -> float:
    """Seconds of a bare pass with control, and of its backward pass to the latents if that is the kind."""
    text = backbone.embed(["a figure"]).expand(batch, -1, -1)
    control = torch.rand((batch, 3, *backbone.image_size), device=backbone.device)
    z = torch.randn((batch, 4, *backbone.latent_size), device=backbone.device).requires_grad_(kind == "backward")
    started = time.perf_counter()
    with torch.set_grad_enabled(kind == "backward"):
        predicted = PREDICT(backbone, z, 500, text, control)
        if kind == "backward":
            predicted.square().sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(views: int, overrides: list[str]) -> dict[str, Any]:
    """One run: seconds and floor by stage, the edit's and the run's ratio to its floor, the field's share, peak memory."""
    watch = Watch()
    for stage, (module, name) in STAGES.items():
        setattr(module, name, watch.timed(stage, getattr(module, name)))
    DiffusionBackbone.predict = watch.counted()
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene"
        write_scene(scene, build_scene(3, views=views))
        own = [f"scene.path={scene}", f"output_dir={folder}/out", "baselines=[]", *overrides]
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            settings = parse(compose("config", own))
        watch.last = time.perf_counter()
        pipeline.run(settings, "benchmark")
        watch.turn()
        DiffusionBackbone.predict = PREDICT
    wall = sum(watch.seconds.values())  # without the bare passes in between
    bare = {one: statistics.mean(seconds) for one, seconds in watch.bare.items()}
    floors: defaultdict[str, float] = defaultdict(float)
    for (stage, kind, batch), count in watch.passes.items():
        floors[stage] += count * bare[kind, batch]
    edit_seconds = sum(watch.seconds[stage] for stage in EDIT)
    return {
        "views": views,
        "chunk": settings.chunk_size,
        "wall": wall,
        "seconds": dict(watch.seconds),
        "floor": dict(floors),
        "edit_over_floor": edit_seconds / sum(floors[stage] for stage in EDIT),
        "field_share": watch.seconds["field training"] / wall,
        "seconds_a_view": wall / views,
        "grown": dict(watch.grown),
        "peak_mib": peak_mib(),
        "threads": torch.get_num_threads(),
    }


def in_a_process(views: int, overrides: list[str]) -> dict[str, Any]:
    """`measure` with a peak of memory of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_edit", "--json", "--views", str(views), "--", *overrides]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def show(found: dict[str, Any]) -> None:
    stages = f"stage ({found['views']} views, chunks of {found['chunk']})"
    print(f"\n| {stages} | seconds | bare U-Net passes | ratio | raises the peak by, MiB |\n|---|---|---|---|---|")
    for stage, seconds in found["seconds"].items():
        floor = found["floor"].get(stage, 0.0)
        against = f"{floor:.1f} | {seconds / floor:.2f}" if floor else "- | -"
        print(f"| {stage} | {seconds:.1f} | {against} | {found['grown'][stage]:.0f} |")
    print(f"\nThe edit takes {found['edit_over_floor']:.2f} times its floor. Of the run's {found['wall']:.0f} s")
    print(f"training fields takes {found['field_share']:.0%}; {found['seconds_a_view']:.2f} s a view.")
    print(f"Peak {found['peak_mib']:.0f} MiB, {found['threads']} threads.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--views", type=int, nargs="+", default=[12])
    parser.add_argument("--chunks", type=int, nargs="+", default=[])
    parser.add_argument("--json", action="store_true", help="measure here, print one line")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(measure(arguments.views[0], arguments.overrides)))
        return
    chunks = [[f"chunk_size={chunk}"] for chunk in arguments.chunks] or [[]]
    for views in arguments.views:
        for chunk in chunks:
            show(in_a_process(views, [*arguments.overrides, *chunk]))


if __name__ == "__main__":
    main()
