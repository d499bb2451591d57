"""The layout of a multiresolution hash grid: what every implementation of it has to agree on."""

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
