"""What `qnerf validate` estimates beside what a run takes, at two sizes of the model:

python -m benchmarks.bench_estimate                # both, some minutes; embedded or half: one of them
python -m benchmarks.bench_estimate --passes half  # operations a second of a model's parts, beside the embedded model's

Time is the CPU time of one thread, since other work on the machine does not count in it. What a CPU-second is worth differs
between machines and with their load, so estimates, which are for two idle cores, are scaled by two figures, measured before and
after the run: what a pass of the embedded model takes, and what a step of a field takes, which has one thread on any machine
(warp's kernels), as imports and files have.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench_field import VIEWS as FIELD_VIEWS
from benchmarks.bench_field import encodings, ring, sized, sphere_queries
from benchmarks.random_model import WIDTHS, write_random_model
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.flops import autoencoder_flops, controlnet_flops, unet_flops
from qnerf.backbones.puppet import PuppetSettings
from qnerf.config import RunSettings
from qnerf.fields.settings import FieldSettings
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.planning.cost import Estimate, estimate_cost, fields_seconds, figures_seconds
from qnerf.planning.light_checks import count_views
from qnerf.planning.units import FIELD_STEP, HELDOUT_STEP, LOAD, PASS, START
from qnerf.runs import pipeline
from qnerf.runs.plan import plan_method
from qnerf.scenes.settings import width_height

VIEWS = 3
CASES: dict[str, tuple[str, ...]] = {  # the settings of a run of each model
    "embedded": ("+exp=smoke",),
    "half": ("schedule=independent", "guidance=off", "baselines=[]", "steps=3", "metrics=quick"),
}
FIELD_STEPS, FIELD_WARM, FIELD_BATCH = 40, 8, (512, 16)  # rays and samples, those of `FIELD_STEP`


def pass_seconds(backbone: DiffusionBackbone, rows: int = 4, count: int = 3) -> float:
    """CPU seconds of a row of a pass, U-Net and ControlNet."""
    z = torch.zeros(rows, backbone.latent_channels, *backbone.latent_size)
    drawing, text = torch.zeros(rows, 3, *backbone.image_size), backbone.embed(["a fox"]).expand(rows, -1, -1)
    with torch.inference_mode():
        return _timed(lambda: backbone.predict(z, 500, Conditioning.of(text, drawing)), count) / rows


def _timed(function: Callable[[], object], count: int) -> float:
    function()
    begun = time.process_time()
    for _ in range(count):
        function()
    return (time.process_time() - begun) / count


def units() -> tuple[float, float]:
    """CPU seconds here for each second of an estimate: of passes, and of what has one thread."""
    at: dict[int, float] = {}
    settings = sized(FieldSettings(), encodings(torch.device("cpu"))[-1], FIELD_STEPS, *FIELD_BATCH)
    space, cameras = Space(torch.zeros(3), 1.1), ring(FIELD_VIEWS, 3.0)
    train_query_field(
        sphere_queries(cameras), cameras, space, settings, 0, on_step=lambda step, *_: at.update({step: time.process_time()})
    )
    step = (at[FIELD_STEPS] - at[FIELD_WARM]) / (FIELD_STEPS - FIELD_WARM)
    return pass_seconds(PuppetSettings().build()) / PASS, step / FIELD_STEP


def one_threads_seconds(settings: RunSettings) -> float:
    """Of an estimate, the seconds of what has one thread however many cores there are."""
    methods, views = settings.methods().values(), count_views(settings)
    fields = sum(fields_seconds(settings, method, views) for method in methods)
    feedback = sum(plan_method(method, settings.steps, views).get("feedback", 0.0) for method in methods)
    radiance = feedback * HELDOUT_STEP * settings.rgb_field.optimiser.iterations
    start = START + LOAD * settings.backbone.costs(*width_height(settings.scene.size)).weights
    return start + len(methods) * figures_seconds(settings) + fields + radiance


def run(case: str, own: Sequence[str], out: str) -> dict[str, Any]:
    """One run, in this process: what was estimated, and what it took, its imports among it."""
    imported = time.process_time()
    settings = RunSettings.compose(*CASES[case], *own, f"output_dir={out}", "device=cpu")
    expected: Estimate = estimate_cost([settings])
    single, before = one_threads_seconds(settings), units()
    begun = time.process_time()
    pipeline.run(settings, "benchmark")
    taken = time.process_time() - begun + imported
    of_passes, of_one = (sum(pair) / 2 for pair in zip(before, units(), strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    files = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    return {
        "seconds": (single * of_one + (expected.seconds - single) * of_passes, taken),
        "MiB of memory": (expected.memory / 2**20, peak / 2**20),
        "MiB of disk": (expected.disk / 2**20, files / 2**20),
    }


def model_and_scene(folder: Path, size: str) -> list[str]:
    """Written to the folder; the overrides of a run that name them."""
    scene, pixels = folder / "scene", WIDTHS[size].image
    build = [sys.executable, "-m", "qnerf.scenes.procedural.build", "--seed", "3", "--out", str(scene)]
    subprocess.run([*build, "--views", str(VIEWS), "--size", str(pixels)], check=True, stdout=subprocess.DEVNULL)
    return [*write_random_model(folder / "model", size), f"scene.path={scene}", f"scene.size={pixels}"]


def passes(size: str) -> None:
    """Operations a second of each part, in CPU time of one thread."""
    embedded = PuppetSettings().build()
    show_rates("embedded", embedded)
    with tempfile.TemporaryDirectory() as folder:
        own = write_random_model(Path(folder) / "model", size)
        show_rates(size, RunSettings.compose("scene.path=x", f"scene.size={WIDTHS[size].image}", *own).backbone.build())


def show_rates(name: str, backbone: DiffusionBackbone) -> None:
    net, image = backbone.controlnets[0], torch.zeros(1, 3, *backbone.image_size)
    z = torch.zeros(1, backbone.latent_channels, *backbone.latent_size)
    work = unet_flops(backbone.unet.config, backbone.latent_size) + controlnet_flops(net.config, backbone.latent_size)
    encode, decode = autoencoder_flops(backbone.vae.config, backbone.image_size)
    found = {
        "a pass": (work, pass_seconds(backbone)),
        "encoding": (encode, _timed(lambda: backbone.encode(image), 2)),
        "decoding": (decode, _timed(lambda: backbone.decode(z), 2)),
    }
    for what, (flops, seconds) in found.items():
        print(f"{name}, {what}: {flops / 1e9:.2f} GFLOP, {seconds:.4f} s, {flops / seconds / 1e9:.1f} GFLOP/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"which of {', '.join(CASES)}; all, if none is named")
    parser.add_argument("--passes", choices=WIDTHS, help="time the parts of a model of this size instead")
    parser.add_argument("--json", help="measure one in this folder, with these overrides in the place of cases; print one line")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.passes:
        passes(arguments.passes)
        return
    if arguments.json:
        case, *own = arguments.cases
        print(json.dumps(run(case, own, arguments.json)))
        return
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    print("| model | what | estimated | measured | ratio |\n|---|---|---|---|---|")
    for case in arguments.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            own = [] if case == "embedded" else model_and_scene(Path(folder), case)
            # In a process of its own, which has a peak of memory of its own.
            command = [sys.executable, "-m", "benchmarks.bench_estimate", "--json", f"{folder}/out", case, *own]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
        for what, (expected, measured) in json.loads(done.stdout.splitlines()[-1]).items():
            print(f"| {case} | {what} | {expected:.0f} | {measured:.0f} | {expected / measured:.2f} |", flush=True)


if __name__ == "__main__":
    main()
