"""The layout of a multiresolution hash grid: what the torch, warp and Triton implementations agree on to the row.

It follows the paper (instant-ngp, §3): N = round(base · ratio^l) cells per axis, so N + 1 corners, the first
and the last on the cube's faces. tiny-cuda-nn's grid (`grid.h`, `common_device.h`) is laid out otherwise:
- Its level has s = base · ratio^l - 1 cells per axis, not always a whole number: wider by a share of about 1 / N.
- Its corners are shifted by half a cell (position · s + 1/2), so that those of different levels are staggered.
- A dense level of it has ⌈base · ratio^l⌉ corners per axis, as many as here or one fewer, and is padded to a
  multiple of 8 rows. Both are dense where the cube of that number fits into the table. So a level on the edge
  is dense there and hashed here: the last of the default grid, whose 64³ corners there fill 2^18 rows, where
  65³ here do not fit.
- There the shift leads past a dense level's last corner, and rows wrap around; here they do not.
The hash and its primes are the same. Fields of the two learn alike, but parameters of one mean nothing to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from qnerf.fields.settings import EncodingSettings

PRIMES = (1, 2654435761, 805459861)
"""Multipliers of the spatial hash (instant-ngp, eq. 4): XOR of the coordinates times these, modulo the table's size."""


@dataclass(frozen=True)
class GridLayout:
    """Level l has `resolutions[l]` cells per axis and the rows [offsets[l], offsets[l + 1]) of one table (rows, features).

    A level whose (cells + 1)^3 corners fit into `table_size` (a power of two) is stored densely, x fastest; others are hashed.
    """

    resolutions: tuple[int, ...]
    offsets: tuple[int, ...]
    features: int
    table_size: int

    @property
    def rows(self) -> int:
        return self.offsets[-1]

    @property
    def width(self) -> int:
        """Features per encoded point: levels * features."""
        return len(self.resolutions) * self.features

    def is_dense(self, level: int) -> bool:
        return (self.resolutions[level] + 1) ** 3 <= self.table_size


def grid_layout(settings: EncodingSettings) -> GridLayout:
    """Resolutions in geometric progression from the base to the finest (instant-ngp, eqs. 2 and 3)."""
    size = 2**settings.log2_table_size
    ratio = settings.finest_resolution / settings.base_resolution
    last = max(settings.levels - 1, 1)
    resolutions = tuple(round(settings.base_resolution * ratio ** (level / last)) for level in range(settings.levels))
    offsets = [0]
    for resolution in resolutions:
        offsets.append(offsets[-1] + min((resolution + 1) ** 3, size))
    return GridLayout(resolutions, tuple(offsets), settings.features_per_level, size)
