"""Hash-grid encoding, forward + backward, against its plain torch reference: python -m benchmarks.bench_encoding"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.encodings.warp_grid import encode_warp
from qnerf.fields.settings import EncodingSettings

POINTS = 65536
REPEATS = 3
Encode = Callable[[Tensor, Tensor, GridLayout], Tensor]


def measure(encode: Encode, layout: GridLayout) -> float:
    """Seconds of one forward and backward pass to the table, the best of a few, after one that compiles."""
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(POINTS, 3, generator=generator)
    table = torch.randn(layout.rows, layout.features, generator=generator).requires_grad_()
    gradient = torch.randn(POINTS, layout.width, generator=generator)
    best = float("inf")
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        encode(positions, table, layout).backward(gradient)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    print(f"{POINTS} points, forward + backward, {torch.get_num_threads()} threads")
    print(f"{'grid':32s} {'torch':>9s} {'warp':>9s} {'ratio':>7s}")
    grids = {
        "8 levels x 4, 2^15 (default)": EncodingSettings(),
        "16 levels x 2, 2^15": EncodingSettings(levels=16, features_per_level=2, base_resolution=16, finest_resolution=512),
        "16 levels x 2, 2^19": EncodingSettings(
            levels=16, features_per_level=2, base_resolution=16, finest_resolution=512, log2_table_size=19
        ),
    }
    for label, settings in grids.items():
        layout = grid_layout(settings)
        slow, fast = measure(encode_torch, layout), measure(encode_warp, layout)
        print(f"{label:32s} {slow * 1e3:7.1f}ms {fast * 1e3:7.1f}ms {slow / fast:6.1f}x")


if __name__ == "__main__":
    main()
