"""Hash-grid encoding, forward + backward to the table, by implementation, against its plain torch reference:

python -m benchmarks.bench_encoding [--device auto]
"""

from __future__ import annotations

import argparse
import time

import torch

from benchmarks.bench_field import encodings
from qnerf.devices import pick_device
from qnerf.fields.encodings.choice import build_encoding
from qnerf.fields.settings import EncodingName, EncodingSettings

POINTS = {"cpu": 65536, "cuda": 4096 * 48}
REPEATS = 3
SD15 = EncodingSettings(levels=16, features_per_level=2, base_resolution=16, finest_resolution=512, log2_table_size=19)
GRIDS = {
    "4 levels x 4, 2^18 (default)": EncodingSettings(),
    "16 levels x 2, 2^15": SD15.model_copy(update={"log2_table_size": 15}),
    "16 levels x 2, 2^19 (sd15)": SD15,
    "16 levels x 2, 2^19, half": SD15.model_copy(update={"table_dtype": "float16"}),
}


def measure(name: EncodingName, settings: EncodingSettings, device: torch.device) -> float:
    """Seconds of one forward and backward pass to the table, the best of a few, after one that compiles."""
    generator = torch.Generator().manual_seed(0)
    grid = build_encoding(settings, name, device, seed=0)
    positions = torch.rand(POINTS[device.type], 3, generator=generator).to(device)
    gradient = torch.randn(len(positions), grid.width, generator=generator).to(device)
    best = float("inf")
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        grid.zero_grad()
        grid(positions).backward(gradient)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    device = pick_device(parser.parse_args().device)
    names = encodings(device)
    print(f"milliseconds of {POINTS[device.type]} points, forward + backward; {device}, {torch.get_num_threads()} threads")
    print(f"{'grid':32s} {' '.join(f'{name:>10s}' for name in names)}")
    for label, settings in GRIDS.items():
        seconds = [measure(name, settings, device) for name in names]
        print(f"{label:32s} {' '.join(f'{1e3 * value:10.2f}' for value in seconds)}")


if __name__ == "__main__":
    main()
