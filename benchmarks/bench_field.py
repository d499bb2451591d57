"""Training of a query field on 12 synthetic views, by encoding: python -m benchmarks.bench_field"""

from __future__ import annotations

import math
import time
from typing import Literal

import torch
from torch import Tensor

from qnerf.fields.explained import measure_field
from qnerf.fields.settings import FieldSettings
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.scenes.cameras import Cameras

VIEWS, PIXELS, STEPS = 12, 128, 100
SIZES = {8: 96, 16: 72, 32: 40}


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
                torch.randn(3, channels, generator=generator) * 2,
                torch.rand(channels, generator=generator),
            )
            queries[f"{size}.{layer}"] = torch.where(miss < 1, torch.sin(surface @ frequency + 6 * phase), phase)
    return queries


def measure(encoding: Literal["torch", "warp"]) -> tuple[float, float]:
    """Seconds per step, and the mean R² over the layers."""
    settings = FieldSettings()
    optimiser = settings.optimiser.model_copy(update={"iterations": STEPS})
    settings = settings.model_copy(update={"encoding": encoding, "optimiser": optimiser})
    cameras = ring(VIEWS, 3.0)
    times: list[float] = []
    space = Space(torch.zeros(3), 1.1)
    queries = sphere_queries(cameras)
    field = train_query_field(
        queries, cameras, space, settings, seed=0, on_step=lambda step, total, loss: times.append(time.perf_counter())
    )
    explained = measure_field(field, queries, cameras)
    return (times[-1] - times[0]) / (len(times) - 1), sum(explained.values()) / len(explained)


def main() -> None:
    print(f"query field, {VIEWS} views, maps {', '.join(f'{s}²' for s in SIZES)}, {STEPS} steps, {torch.get_num_threads()} threads")
    slow, r_slow = measure("torch")
    fast, r_fast = measure("warp")
    print(f"torch {slow * 1e3:.0f} ms a step (R² {r_slow:.3f}), warp {fast * 1e3:.0f} ms (R² {r_fast:.3f}): {slow / fast:.1f}x")


if __name__ == "__main__":
    main()
