"""The rays of query maps: one per token and view, through the centre of the token's patch of pixels or a point inside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras, Rays


@dataclass(frozen=True)
class TokenGrid:
    """The tokens of V views' maps of rows x columns, numbered view by view, row by row."""

    views: int
    rows: int
    columns: int

    def __len__(self) -> int:
        return self.views * self.rows * self.columns

    def rays(self, cameras: Cameras, tokens: Tensor, inside: Tensor) -> Rays:
        """Rays (P, 3) through tokens (P,); `inside` (P, 2) is the point (x, y) of each patch, (0.5, 0.5) its centre."""
        view, pixels = self.pixels(cameras, tokens, inside)
        return cameras.rays(view, pixels)

    def pixels(self, cameras: Cameras, tokens: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """View index (P,) and image point (P, 2), in pixels."""
        view = tokens // (self.rows * self.columns)
        row = tokens // self.columns % self.rows
        x = (tokens % self.columns + inside[:, 0]) * (cameras.width / self.columns)
        y = (row + inside[:, 1]) * (cameras.height / self.rows)
        return view, torch.stack([x, y], dim=-1)


def patch_points(per_side: int) -> Tensor:
    """(per_side², 2) centres of an even subdivision of the unit patch; the patch's own centre for 1."""
    axis = (torch.arange(per_side) + 0.5) / per_side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)
