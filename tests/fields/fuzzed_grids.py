"""Random hash grids, and a literal loop in float64 that every implementation is held against.

python -m tests.fields.fuzzed_grids N, with TRITON_INTERPRET=1: the largest errors of Triton's and of torch's over N grids, as JSON.
The variable must be set before Triton is imported by anybody, so tests run this in a process of its own.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from qnerf.fields.encodings.hash_grid import Encode
from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.settings import EncodingSettings

POINTS = 12


@dataclass(frozen=True)
class Fuzzed:
    """positions (P, 3) and table float32, read in the type `stored`; wanted: the gradient (P, width) of what is encoded."""

    layout: GridLayout
    positions: Tensor
    table: Tensor
    wanted: Tensor
    stored: torch.dtype


def fuzzed(count: int, most_levels: int = 3) -> Iterator[Fuzzed]:
    """Grids of 2 to 4096 cells an axis, dense and hashed, with points inside cells, on and beside their faces, at 0 and at 1."""
    random = np.random.default_rng(0)
    for index in range(count):
        levels = 32 if index == 1 else int(random.choice([1, 2, 3], p=[0.75, 0.2, 0.05]))
        coarse, fine = sorted(int(2 ** random.uniform(1, 12)) for _ in range(2))
        settings = EncodingSettings(
            levels=min(levels, most_levels) if index != 1 else levels,
            features_per_level=random.choice([1, 2, 4, 8]),
            log2_table_size=int(random.integers(4, 13)),
            base_resolution=fine if levels == 1 else coarse,
            finest_resolution=4096 if index == 0 else fine,
        )
        layout = grid_layout(settings)
        cells = int(random.choice(layout.resolutions))
        positions = random.random((POINTS, 3))
        positions[:2] = [[0.0] * 3, [1.0] * 3]
        faces = random.integers(0, cells + 1, (4, 3)) / cells
        positions[2:5] = np.where(random.random((3, 3)) < 0.6, faces[:3], positions[2:5])
        places = torch.tensor(positions, dtype=torch.float32)
        places[5] = torch.nextafter(torch.tensor(faces[3], dtype=torch.float32), torch.tensor(0.0))
        generator = torch.Generator().manual_seed(index)
        table = torch.randn(layout.rows, layout.features, generator=generator)
        wanted = torch.randn(POINTS, layout.width, generator=generator)
        yield Fuzzed(layout, places, table, wanted, torch.float16 if random.random() < 0.3 else torch.float32)


def literal(case: Fuzzed) -> list[np.ndarray]:
    """What is encoded (P, width) and the gradients of table and positions, by the definition, in float64.

    Only the product of a position and a resolution is rounded to float32: it decides which cell a point on a face belongs to.
    """
    layout, features = case.layout, case.layout.features
    table, wanted = case.table.to(case.stored).double().numpy(), case.wanted.double().numpy()
    encoded, on_table, on_positions = np.zeros(wanted.shape), np.zeros(table.shape), np.zeros(case.positions.shape)
    for point, position in enumerate(case.positions.numpy()):
        for level, cells in enumerate(layout.resolutions):
            place = slice(level * features, (level + 1) * features)
            scaled = [float(x * np.float32(cells)) for x in position]
            cell = [min(max(int(x // 1), 0), cells - 1) for x in scaled]
            for corner in range(8):
                up = [corner >> axis & 1 for axis in range(3)]
                x, y, z = (c + u for c, u in zip(cell, up, strict=True))
                if (cells + 1) ** 3 <= layout.table_size:
                    row = x + y * (cells + 1) + z * (cells + 1) ** 2
                else:
                    row = (x ^ (y * 2654435761) ^ (z * 805459861)) % layout.table_size
                row += layout.offsets[level]
                weights = [s - c if u else 1 - (s - c) for s, c, u in zip(scaled, cell, up, strict=True)]
                weight, along = weights[0] * weights[1] * weights[2], float(table[row] @ wanted[point, place]) * cells
                encoded[point, place] += weight * table[row]
                on_table[row] += weight * wanted[point, place]
                for axis in range(3):
                    others = weights[axis - 1] * weights[axis - 2]
                    on_positions[point, axis] += (along if up[axis] else -along) * others
    return [encoded, on_table, on_positions]


def by(encode: Encode, case: Fuzzed) -> list[np.ndarray]:
    """The same by an implementation."""
    positions, table = case.positions.clone().requires_grad_(), case.table.clone().requires_grad_()
    encoded = encode(positions, table, case.layout, case.stored)
    encoded.backward(case.wanted)
    assert table.grad is not None
    assert positions.grad is not None
    return [x.detach().numpy() for x in (encoded, table.grad, positions.grad)]


def errors(found: list[np.ndarray], expected: list[np.ndarray]) -> list[float]:
    """The largest error of each, by the size of the largest value where this is above 1."""
    pairs = zip(found, expected, strict=True)
    return [float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for a, b in pairs]


def main() -> None:
    from triton.runtime.interpreter import interpreter_builder

    from qnerf.fields.encodings.triton_grid import INTERPRETED, encode_triton

    assert INTERPRETED, "TRITON_INTERPRET was not set"
    # A hash overflows by design; checks of every integer operation for it take half of the interpreter's time.
    interpreter_builder.options = replace(interpreter_builder.options, sanitize_overflow=False)
    worst, half = np.zeros(3), 0.0
    for index, case in enumerate(fuzzed(int(sys.argv[1]))):
        expected = literal(case)
        worst = np.maximum(worst, errors(by(encode_triton, case), expected))
        if index % 50 == 0:  # a table that is itself half: its gradient too is
            table = case.table.half().requires_grad_()
            encode_triton(case.positions, table, case.layout).backward(case.wanted)
            reference = case.table.half().requires_grad_()
            encode_torch(case.positions, reference, case.layout).backward(case.wanted)
            assert table.grad is not None
            assert reference.grad is not None
            assert table.grad.dtype == torch.float16
            half = max(half, *errors([table.grad.float().numpy()], [reference.grad.float().numpy()]))
    case = next(fuzzed(1))
    empty = encode_triton(torch.zeros(0, 3), case.table, case.layout)
    print(json.dumps({"errors": worst.tolist(), "half": half, "empty": list(empty.shape) == [0, case.layout.width]}))


if __name__ == "__main__":
    main()
