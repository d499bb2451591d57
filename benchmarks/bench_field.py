"""A step of a query field's training by encoding, on 12 synthetic views: whole, as training runs it, and by part:

python -m benchmarks.bench_field                              # the default field on this machine's device
python -m benchmarks.bench_field --rays 4096 --samples 48     # at the size of Stable Diffusion's, for a GPU

On a GPU training replays a step from a CUDA graph. Parts can only be told apart in steps that are run plainly, with
a wait for the GPU at every turn, so they add up to more than the whole.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.stopwatch import ELSEWHERE, Stopwatch
from qnerf.devices import pick_device
from qnerf.fields import query_field, trunk
from qnerf.fields import train_query_field as training
from qnerf.fields.encodings.choice import load_tinycudann, load_triton, load_warp
from qnerf.fields.encodings.hash_grid import HashGrid, TinyCudaGrid
from qnerf.fields.explained import measure_field
from qnerf.fields.graphed import PLAIN_STEPS
from qnerf.fields.settings import EncodingName, FieldSettings
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.graphs import never_record
from qnerf.scenes.cameras import Cameras

VIEWS, PIXELS = 12, 128
SIZES = {8: 96, 16: 72, 32: 40}
RAYS = "rays and targets"
PARTS: dict[str, list[tuple[Any, ...]]] = {  # where each is looked up; what one calls of another counts for the inner one
    RAYS: [(training.QueryLoss, "__call__"), (training.QueryLoss, "fetch")],
    "sampling": [(trunk, "sample_rays")],
    "encoding": [(HashGrid, "forward"), (TinyCudaGrid, "forward")],
    "network and density": [(trunk.Trunk, "forward")],
    "compositing": [(trunk, "composite_weights"), (query_field, "composite_feature"), (query_field, "expected_depth")],
    "heads": [(nn.Linear, "forward", RAYS)],  # those of the base network are called within another part
    "loss": [(training, "ray_loss"), (training, "trimmed_sum")],
    "backward": [(Tensor, "backward")],
    "optimiser": [(torch.optim.AdamW, "step"), (torch.optim.AdamW, "zero_grad")],
    "proposal grid": [(trunk.Trunk, "refresh_proposal")],
}


def ring(views: int, distance: float) -> Cameras:
    """Cameras on a circle round the origin, looking at it from a little above."""
    poses = []
    for index in range(views):
        angle = 2 * math.pi * index / views
        eye = torch.tensor([math.cos(angle), math.sin(angle), 0.4]) * distance
        back = eye / eye.norm()
        right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), back)
        right = right / right.norm()
        pose = torch.eye(4)
        pose[:3, :4] = torch.stack([right, torch.linalg.cross(back, right), back, eye], dim=1)
        poses.append(pose)
    focal = torch.full((views, 2), 1.2 * PIXELS)
    return Cameras(torch.stack(poses), focal, torch.full((views, 2), PIXELS / 2), PIXELS, PIXELS)


def sphere_queries(cameras: Cameras) -> dict[str, Tensor]:
    """Three layers per resolution: random smooth features on the unit sphere, and a constant beside it."""
    queries = {}
    for size, channels in SIZES.items():
        rays = cameras.token_rays(size, size)
        along = -(rays.origins * rays.directions).sum(-1, keepdim=True)
        miss = (rays.origins + along * rays.directions).norm(dim=-1, keepdim=True)
        surface = rays.origins + (along - (1 - miss.square()).clamp_min(0).sqrt()) * rays.directions
        for layer in range(3):
            generator = torch.Generator().manual_seed(10 * size + layer)
            frequency, phase = (
                (torch.randn(3, channels, generator=generator) * 2).to(surface),
                torch.rand(channels, generator=generator).to(surface),
            )
            queries[f"{size}.{layer}"] = torch.where(miss < 1, torch.sin(surface @ frequency + 6 * phase), phase)
    return queries


def measure(
    encoding: EncodingName,
    device: torch.device,
    iterations: int,
    rays: int,
    samples: int,
    settings: FieldSettings | None = None,
) -> tuple[dict[str, float], float]:
    """Seconds per step by part, run plainly, after the first tenth of the steps, and the mean R² over the layers. settings: of
    the field, but for these numbers."""
    settings = sized(settings or FieldSettings(), encoding, iterations, rays, samples)
    cameras, watch = ring(VIEWS, 3.0).to(device), Stopwatch()
    queries = sphere_queries(cameras)
    warm, counted = max(iterations // 10, 1), iterations - max(iterations // 10, 1)

    def on_step(step: int, total: int, loss: float) -> None:
        if step == warm:  # kernels are compiled, memory is there
            watch.turn()
            watch.seconds.clear()
        if step == total:
            watch.turn()
            taken.update(watch.seconds)

    taken: dict[str, float] = {}
    space = Space(torch.zeros(3, device=device), 1.1)
    with patched(watch):
        field = train_query_field(queries, cameras, space, settings, seed=0, on_step=on_step, recorder_of=never_record)
    explained = measure_field(field, queries, cameras)
    seconds = {part: taken.get(part, 0.0) / counted for part in (*PARTS, ELSEWHERE)}
    return seconds, sum(explained.values()) / len(explained)


def whole_step(
    encoding: EncodingName,
    device: torch.device,
    iterations: int,
    rays: int,
    samples: int,
    settings: FieldSettings | None = None,
) -> float:
    """Seconds per step as training runs it, nothing watched: replayed where the device allows. Arguments as for `measure`."""
    settings = sized(settings or FieldSettings(), encoding, iterations, rays, samples)
    cameras = ring(VIEWS, 3.0).to(device)
    warm = min(max(iterations // 10, PLAIN_STEPS + 2), iterations - 1)  # by then a step has been recorded
    at: dict[int, float] = {}

    def on_step(step: int, total: int, loss: float) -> None:
        if step in (warm, total):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            at[step] = time.perf_counter()

    train_query_field(
        sphere_queries(cameras), cameras, Space(torch.zeros(3, device=device), 1.1), settings, seed=0, on_step=on_step
    )
    return (at[iterations] - at[warm]) / (iterations - warm)


def sized(settings: FieldSettings, encoding: EncodingName, iterations: int, rays: int, samples: int) -> FieldSettings:
    """The settings with these numbers."""
    optimiser = settings.optimiser.model_copy(update={"iterations": iterations, "rays_per_batch": rays})
    sampling = settings.sampling.model_copy(update={"fine_samples": samples})
    return settings.model_copy(update={"encoding": encoding, "optimiser": optimiser, "sampling": sampling})


@contextmanager
def patched(watch: Stopwatch) -> Iterator[None]:
    """All parts of a step under the watch, and back as they were."""
    before = [(*place[:2], getattr(*place[:2])) for places in PARTS.values() for place in places]
    try:
        for part, places in PARTS.items():
            for place in places:
                watch.patch(part, *place)
        yield
    finally:
        for owner, attribute, function in before:
            setattr(owner, attribute, function)


def encodings(device: torch.device) -> list[EncodingName]:
    """Those that this machine has, the plain one first."""
    here: list[EncodingName] = ["torch"]
    if device.type == "cuda" and not isinstance(load_triton(device), str):
        here.append("triton")
    if load_warp() is not None:
        here.append("warp")
    if device.type == "cuda" and load_tinycudann() is not None:
        here.append("tinycudann")
    return here


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--rays", type=int, default=FieldSettings().optimiser.rays_per_batch)
    parser.add_argument("--samples", type=int, default=FieldSettings().sampling.fine_samples)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    print(f"query field, {VIEWS} views, maps {', '.join(f'{s}²' for s in SIZES)}; milliseconds a step of {arguments.iterations},")
    print(f"of {arguments.rays} rays with {arguments.samples} samples each; {device}, {torch.get_num_threads()} threads\n")
    names = encodings(device)
    sizes = (device, arguments.iterations, arguments.rays, arguments.samples)
    found, whole = [measure(name, *sizes) for name in names], [whole_step(name, *sizes) for name in names]
    print(f"| part | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for part in (*PARTS, ELSEWHERE):
        print(f"| {part} | {' | '.join(f'{1e3 * seconds[part]:.2f}' for seconds, _ in found)} |")
    print(f"| all parts | {' | '.join(f'{1e3 * sum(seconds.values()):.2f}' for seconds, _ in found)} |")
    print(f"| whole step, as training runs it | {' | '.join(f'{1e3 * seconds:.2f}' for seconds in whole)} |")
    print(f"| R² | {' | '.join(f'{explained:.3f}' for _, explained in found)} |")


if __name__ == "__main__":
    main()
