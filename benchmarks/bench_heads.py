"""Deferred against per-sample heads at SD 1.5's 6,720 query channels: python -m benchmarks.bench_heads"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from qnerf.fields.heads import deferred_heads, heads_per_sample

RAYS, SAMPLES, WIDTH = 256, 24, 64
CHANNELS = 3 * (1280 + 640 + 320)
REPEATS = 3


def measure(heads: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> tuple[float, Tensor]:
    """Seconds of one forward and backward pass, the best of a few, and the result."""
    best, result = float("inf"), torch.empty(0)
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = heads(*inputs)
        result.square().mean().backward()
        best = min(best, time.perf_counter() - start)
    return best, result.detach()


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(RAYS, SAMPLES, WIDTH, generator=generator).requires_grad_()
    weights = torch.rand(RAYS, SAMPLES, generator=generator) / SAMPLES
    background = torch.randn(WIDTH, generator=generator)
    weight = (torch.randn(CHANNELS, WIDTH, generator=generator) / WIDTH**0.5).requires_grad_()
    bias = torch.randn(CHANNELS, generator=generator)
    inputs = (hidden, weights, background, weight, bias)
    slow, reference = measure(heads_per_sample, inputs)
    fast, result = measure(deferred_heads, inputs)
    error = (result - reference).abs().max().item()
    print(f"{RAYS} rays x {SAMPLES} samples, {CHANNELS} channels, forward + backward, {torch.get_num_threads()} threads")
    print(f"per sample {slow * 1e3:.0f} ms, deferred {fast * 1e3:.1f} ms: {slow / fast:.0f}x; largest difference {error:.1e}")


if __name__ == "__main__":
    main()
