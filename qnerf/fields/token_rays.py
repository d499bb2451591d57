"""The rays of query maps: one per token and view, through the centre of the token's patch of pixels or a point inside it."""

from __future__ import annotations

from collections.abc import Callable
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


RAY_CHUNK = 4096


def render_pixels(cameras: Cameras, where: Tensor | None, march: Callable[[Rays], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Images (V, 3, H, W) in [0, 1] and depth (V, H, W), distance along the ray, at the cameras' own resolution.

    where: (V, H, W) bool, the pixels that are wanted; the others are 0. None: all. march: colours (R, 3) and depth (R,) of rays.
    """
    grid = TokenGrid(len(cameras), cameras.height, cameras.width)
    device = cameras.focal.device
    wanted = torch.arange(len(grid), device=device)
    wanted = wanted if where is None else wanted[where.flatten()]
    colours, depths = torch.zeros(len(grid), 3, device=device), torch.zeros(len(grid), device=device)
    for pixels in wanted.split(RAY_CHUNK) if len(wanted) else ():
        rays = grid.rays(cameras, pixels, torch.full((len(pixels), 2), 0.5, device=device))
        colours[pixels], depths[pixels] = march(rays)
    size = (len(cameras), cameras.height, cameras.width)
    return colours.view(*size, 3).permute(0, 3, 1, 2).clamp(0, 1).contiguous(), depths.view(size)
