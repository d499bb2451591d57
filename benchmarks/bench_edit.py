"""A whole run against its floor, as many bare U-Net passes, stage by stage; and time and memory over the number of views:

    python -m benchmarks.bench_edit                         # the default edit, 12 views
    python -m benchmarks.bench_edit --views 8 16 32 64      # one row a number of views, each in a process of its own
    python -m benchmarks.bench_edit --chunks 1 2 4 8        # likewise over the chunk
    python -m benchmarks.bench_edit --random sd15 --views 20 -- steps=50 field=sd15     # SD 1.5's size, for a GPU

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from benchmarks.random_model import WIDTHS, write_random_model
from benchmarks.stopwatch import ELSEWHERE, Stopwatch
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import parse
from qnerf.consolidation import consolidate, feedback, phases
from qnerf.run import CONFIGS
from qnerf.runs import methods, pipeline, posing

STAGES = {  # where a run's time goes, and where it is looked up; what one calls of another counts for the inner one
    "inversion": (pipeline, "invert"),
    "reconstruction": (pipeline, "reconstruction_psnr"),
    "posing": (methods, "pose"),
    "source field": (posing, "source_field"),
    "inverting the posed views": (posing, "invert_posed"),
    "field training": (consolidate, "train_field"),
    "rendering queries": (consolidate, "consolidate"),
    "guided steps": (phases, "guided_steps"),
    "plain steps": (phases, "plain_steps"),
    "feedback": (feedback, "feed_back"),
    "decoding": (methods, "decode"),
    "figures": (pipeline, "measured"),
    "report": (pipeline, "write_outcome"),
}
EDIT = ("field training", "rendering queries", "guided steps", "plain steps", "feedback")
POSING = ("source field", "posing", "inverting the posed views")
PREDICT = DiffusionBackbone.predict


def peak_mib() -> float:
    """The process's peak so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watch(Stopwatch):
    """Seconds by stage, the MiB by which it has raised the process's peak, the GPU's peak in it, and passes of the U-Net by stage,
    kind (forward alone, or forward and backward) and size of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: Counter[tuple[str, str, int]] = Counter()
        self.grown: defaultdict[str, float] = defaultdict(float)
        self.gpu: defaultdict[str, float] = defaultdict(float)
        self.peak = peak_mib()
        self.bare: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
        self.backbone: DiffusionBackbone | None = None

    def turn(self) -> None:
        super().turn()
        stage = self.running[-1]
        self.grown[stage] += peak_mib() - self.peak
        self.peak = peak_mib()
        if torch.cuda.is_available():
            self.gpu[stage] = max(self.gpu[stage], torch.cuda.max_memory_allocated() / 2**20)
            torch.cuda.reset_peak_memory_stats()

    def left(self) -> None:
        """Between two stages of the run, a bare pass of each kind and size that it has had: a shared machine's pace changes."""
        if self.running != [ELSEWHERE]:
            return
        for kind, batch in sorted({(kind, batch) for _, kind, batch in self.passes}):
            if self.backbone is not None:
                self.bare[kind, batch].append(bare_seconds(self.backbone, kind, batch))
        self.last = time.perf_counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """All stages under the watch, and back as they were."""
        before = [(place, getattr(*place)) for place in STAGES.values()]
        for stage, (module, name) in STAGES.items():
            self.patch(stage, module, name)
        DiffusionBackbone.predict = self.counted()
        self.last = time.perf_counter()
        try:
            yield
        finally:
            self.turn()
            DiffusionBackbone.predict = PREDICT
            for place, function in before:
                setattr(*place, function)

    def counted(self) -> Callable[..., Any]:
        def inner(backbone: DiffusionBackbone, latents: torch.Tensor, *arguments: Any, **keywords: Any) -> Any:
            learns = latents.requires_grad or arguments[1].text.requires_grad  # the latents of guidance, or null-text's embedding
            kind = "backward" if torch.is_grad_enabled() and learns else "forward"
            self.passes[self.running[-1], kind, len(latents)] += 1
            self.backbone = backbone
            return PREDICT(backbone, latents, *arguments, **keywords)

        return inner


def bare_seconds(backbone: DiffusionBackbone, kind: str, batch: int) -> float:
    """Seconds of a bare pass with control, and of its backward pass to the latents if that is the kind."""
    text = backbone.embed(["a figure"]).expand(batch, -1, -1)
    control = torch.rand((batch, 3, *backbone.image_size), device=backbone.device)
    shape = (batch, backbone.latent_channels, *backbone.latent_size)
    z = torch.randn(shape, device=backbone.device).requires_grad_(kind == "backward")
    started = time.perf_counter()
    with torch.set_grad_enabled(kind == "backward"):
        predicted = PREDICT(backbone, z, 500, Conditioning.of(text, control))
        if kind == "backward":
            predicted.square().sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(views: int, model: str | None, overrides: list[str]) -> dict[str, Any]:
    """`watched` on a scene and a model of its own.

    model: a size of `WIDTHS`, random weights, by the code path of Stable Diffusion 1.5; none: the embedded one.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = [*prepare(Path(folder), views, model), f"output_dir={folder}/out"]
        chosen = any(word.startswith("schedule=") for word in overrides)
        found = watched([*own, *([] if chosen else ["schedule=progressive"]), *overrides])  # the edit that trains fields
        return {"views": views, "seconds_a_view": found["wall"] / views, **found}


def prepare(folder: Path, views: int, model: str | None) -> list[str]:
    """Writes the scene, and the model if it is a random one, into the folder; the overrides of a run that name them."""
    scene, size = folder / "scene", WIDTHS[model].image if model else 128
    build = [sys.executable, "-m", "qnerf.scenes.procedural.build", "--seed", "3", "--out", str(scene)]
    build += ["--views", str(views), "--size", str(size)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)  # in another process: its memory is not the run's
    own = [f"scene.path={scene}", f"scene.size={size}", "baselines=[]"]
    return own + (write_random_model(folder / "model", model) if model else [])


def watched(overrides: list[str]) -> dict[str, Any]:
    """One run: its folder, seconds and floor by stage, the edit's ratio to its floor, the field's share, peak memory."""
    watch = Watch()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        settings = parse(compose("config", overrides))
    with watch.watching():
        run_folder = pipeline.run(settings, "benchmark")
    wall = sum(watch.seconds.values())  # without the bare passes in between
    bare = {one: statistics.mean(seconds) for one, seconds in watch.bare.items()}
    floors: defaultdict[str, float] = defaultdict(float)
    for (stage, kind, batch), count in watch.passes.items():
        floors[stage] += count * bare[kind, batch]
    edit_seconds = sum(watch.seconds.get(stage, 0.0) for stage in EDIT)
    return {
        "folder": str(run_folder),
        "chunk": settings.chunk_size,
        "wall": wall,
        "seconds": dict(watch.seconds),
        "floor": dict(floors),
        "edit_over_floor": edit_seconds / sum(floors.get(stage, 0.0) for stage in EDIT),
        "field_share": watch.seconds["field training"] / wall,
        "grown": dict(watch.grown),
        "gpu": dict(watch.gpu),
        "peak_mib": peak_mib(),
        "threads": torch.get_num_threads(),
    }


def in_a_process(views: int, model: str | None, overrides: list[str]) -> dict[str, Any]:
    """`measure` with a peak of memory of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_edit", "--json", "--views", str(views)]
    command += [*(["--random", model] if model else []), "--", *overrides]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def show(found: dict[str, Any]) -> None:
    stages = f"stage ({found['views']} views, chunks of {found['chunk']})"
    print(f"\n| {stages} | seconds | bare U-Net passes | ratio | raises the peak by, MiB | GPU's peak, MiB |")
    print("|---|---|---|---|---|---|")
    for stage, seconds in found["seconds"].items():
        floor = found["floor"].get(stage, 0.0)
        against = f"{floor:.1f} | {seconds / floor:.2f}" if floor else "- | -"
        gpu = f"{found['gpu'][stage]:.0f}" if stage in found["gpu"] else "-"
        print(f"| {stage} | {seconds:.1f} | {against} | {found['grown'][stage]:.0f} | {gpu} |")
    print(f"\nThe edit takes {found['edit_over_floor']:.2f} times its floor. Of the run's {found['wall']:.0f} s")
    print(f"training fields takes {found['field_share']:.0%}; {found['seconds_a_view']:.2f} s a view.")
    print(f"Peak {found['peak_mib']:.0f} MiB, {found['threads']} threads.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--views", type=int, nargs="+", default=[12])
    parser.add_argument("--chunks", type=int, nargs="+", default=[])
    parser.add_argument("--random", choices=WIDTHS, help="a model of this size with random weights; none: the embedded one")
    parser.add_argument("--json", action="store_true", help="measure here, print one line")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(measure(arguments.views[0], arguments.random, arguments.overrides)))
        return
    chunks = [[f"chunk_size={chunk}"] for chunk in arguments.chunks] or [[]]
    for views in arguments.views:
        for chunk in chunks:
            show(in_a_process(views, arguments.random, [*arguments.overrides, *chunk]))


if __name__ == "__main__":
    main()
