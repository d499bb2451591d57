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
        place = torch.stack([tokens % self.columns, row], dim=-1) + inside
        return view, place * place.new_tensor([cameras.width / self.columns, cameras.height / self.rows])


def training_order(inside: Tensor, share: float, count: int, generator: torch.Generator) -> Tensor:
    """The tokens in the order in which training sees them: shuffled, each equally often, and `share` of them drawn
    once more from those inside, where there are any on either side."""
    everywhere = torch.randperm(len(inside), generator=generator)
    if not inside.any() or inside.all():
        return everywhere
    here = inside.nonzero()[:, 0]
    here = here[torch.randperm(len(here), generator=generator)]
    place = torch.arange(max(count, len(inside)))
    nth = (place * share).long()  # of the region's tokens so far
    is_here = (place + 1).mul(share).long() > nth
    return torch.where(is_here, here[nth % len(here)], everywhere[(place - nth) % len(inside)])


def patch_points(per_side: int) -> Tensor:
    """(per_side², 2) centres of an even subdivision of the unit patch; the patch's own centre for 1."""
    axis = (torch.arange(per_side) + 0.5) / per_side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)
