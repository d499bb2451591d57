"""The least time that a training step of a query field can take on a card, counted part by part:

python -m benchmarks.field_floor                                   # field=sd15 on an H100 SXM
python -m benchmarks.field_floor --tflops 400 --bandwidth 4.8      # TF32 products; an H200's memory

A part takes the longest of its arithmetic, its memory traffic and its L2 traffic. Every tensor is read and written
as often as separate matrix products and kernels must: nothing is fused beyond a product with its bias and
activation. Rows of tables are read, and atomically added to, by sectors of 32 bytes in the L2 cache. Rays,
sampling along them and the loss's targets count for nothing, and neither do launches.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from qnerf.fields.encodings.layout import grid_layout
from qnerf.fields.settings import FieldSettings

FLOAT, SECTOR = 4, 32
SD15_CHANNELS = {16: 3 * 1280, 32: 3 * 640, 64: 3 * 320}
"""Channels of all layers by tokens per side, of SD 1.5's decoder at 512 pixels."""


@dataclass(frozen=True)
class Card:
    """In units a second. tflops: 10^12 float32 operations. bandwidth, l2: TB. Default: H100 SXM; L2 as microbenchmarks have it."""

    tflops: float = 67.0
    bandwidth: float = 3.35
    l2: float = 5.5


@dataclass(frozen=True)
class Part:
    """Operations (a multiplication and an addition are two), bytes to and from memory, bytes to and from the L2 cache."""

    name: str
    operations: float
    memory: float
    cache: float = 0.0

    def milliseconds(self, card: Card) -> float:
        return max(self.operations / card.tflops, self.memory / card.bandwidth, self.cache / card.l2) / 1e9


def parts(settings: FieldSettings, rays: int, channels: dict[int, int]) -> list[Part]:
    """Of one step of `rays` rays. channels: those of all layers of each resolution, by tokens per side."""
    grid, points = grid_layout(settings.grid), rays * settings.sampling.fine_samples
    levels, values, hidden = len(grid.resolutions), grid.rows * grid.features, settings.geometry_width
    entry = FLOAT if settings.grid.table_dtype == "float32" else FLOAT + 2 * 2  # rounded once a step, and then read
    shares = {side: side ** (2 * settings.small_map_share) for side in channels}
    per_side = {side: rays * share / sum(shares.values()) for side, share in shares.items()}
    widths = [grid.width, *[settings.hidden_width] * settings.hidden_layers, 1 + hidden]
    layers = list(itertools.pairwise(widths))

    def encoding(count: float, every: int = 1) -> Part:
        corners = 8 * count * levels  # each has a weight of two products, and a product and a sum a feature
        read = FLOAT * count * (3 + grid.width) + entry * values / every
        return Part("encoding, forward", corners * (2 + 2 * grid.features), read, corners * SECTOR)

    def network(count: float) -> Part:
        products = sum(2 * a * b for a, b in layers)
        return Part("base network, forward", count * products, FLOAT * count * sum(a + b for a, b in layers))

    table = Part("encoding, backward", encoding(points).operations, FLOAT * (points * (3 + grid.width) + 2 * values))
    every = settings.sampling.proposal_every
    looked = settings.sampling.proposal_resolution**3 / every
    refresh = [encoding(looked, every), network(looked)]
    heads = sum(2 * hidden * channels[side] * count for side, count in per_side.items())
    outputs = sum(channels[side] * count for side, count in per_side.items())
    count = values + sum(a * b + b for a, b in layers) + sum((hidden + 1) * width for width in channels.values())
    return [
        encoding(points),
        network(points),
        Part("compositing, forward", points * 2 * hidden, FLOAT * (points * (hidden + 3) + rays * hidden)),
        Part("heads and loss", 3 * heads, FLOAT * 4 * outputs),  # written, read, their gradient written and read
        Part("compositing, backward", points * 5 * hidden, FLOAT * points * 4 * hidden),  # scaled near the camera: once more
        Part("base network, backward", 2 * network(points).operations, FLOAT * points * 2 * sum(a + b for a, b in layers)),
        Part(table.name, table.operations, table.memory, encoding(points).cache),
        Part("optimiser", 12 * count, 7 * FLOAT * count),  # the parameter and two moments read and written, the gradient read
        Part("proposal grid, its share", *(sum(getattr(p, kind) for p in refresh) for kind in ("operations", "memory", "cache"))),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--field", default="sd15", help="a file of conf/field")
    parser.add_argument("--rays", type=int)
    for name, value in vars(Card()).items():
        parser.add_argument(f"--{name}", type=float, default=value)
    arguments = parser.parse_args()
    card = Card(arguments.tflops, arguments.bandwidth, arguments.l2)
    settings = read_settings(arguments.field)
    rays = arguments.rays or settings.optimiser.rays_per_batch
    found = parts(settings, rays, SD15_CHANNELS)
    print(f"field={arguments.field}, {rays} rays × {settings.sampling.fine_samples} samples; {card}\n")
    print("| part | GFLOP | MB of memory | MB of L2 | at least ms |\n|---|---|---|---|---|")
    total = [sum(column) for column in zip(*((p.operations, p.memory, p.cache) for p in found), strict=True)]
    rows = [(p.name, p.operations, p.memory, p.cache, p.milliseconds(card)) for p in found]
    for name, operations, memory, cache, least in [*rows, ("all", *total, sum(p.milliseconds(card) for p in found))]:
        print(f"| {name} | {operations / 1e9:.2f} | {memory / 1e6:.0f} | {cache / 1e6:.0f} | {least:.3f} |")


def read_settings(name: str) -> FieldSettings:
    """Those of conf/field/<name>.yaml."""
    path = Path(__file__).parents[1] / "conf" / "field" / f"{name}.yaml"
    return FieldSettings.model_validate(OmegaConf.to_container(OmegaConf.load(path)))


if __name__ == "__main__":
    main()
