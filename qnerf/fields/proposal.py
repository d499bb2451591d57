"""A coarse copy of the field's density on a grid of the contracted cube, from which samples are drawn by importance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CHUNK = 65536


class DensityGrid(nn.Module):
    """density: (n, n, n) per radius of length, indexed z, y, x. Starts at 0: the first samples are spread evenly."""

    density: Tensor

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.register_buffer("density", torch.zeros(resolution, resolution, resolution))

    def lookup(self, positions: Tensor) -> Tensor:
        """Density of the cell that holds each position: (..., 3) in [0, 1] to (...)."""
        cell = (positions * self.resolution).long().clamp_(0, self.resolution - 1)
        index = (cell[..., 2] * self.resolution + cell[..., 1]) * self.resolution + cell[..., 0]
        return self.density.view(-1)[index]

    @torch.no_grad()
    def refresh(self, density: Callable[[Tensor], Tensor], generator: torch.Generator, keep: float) -> None:
        """Look at the field once in every cell, at a random point: new = max(keep * old, found) (instant-ngp, §E.2)."""
        n, device = self.resolution, self.density.device
        axis = torch.arange(n, device=device, dtype=torch.float32)
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        cells = torch.stack([x, y, z], dim=-1).view(-1, 3)
        points = (cells + torch.rand(cells.shape, generator=generator, device=device)) / n
        found = torch.cat([density(part) for part in points.split(CHUNK)])
        self.density.copy_(torch.maximum(self.density * keep, found.view(n, n, n)))
