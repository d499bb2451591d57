"""What a ray takes for the part of it that no density stops: a smooth function of its direction.

Without one, floor and sky beyond the ball can only be shown as density somewhere along long rays, and a few views let that density
settle before their own cameras.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BASIS_SIZE = 9


class Background(nn.Module):
    """`width` features, each a sum of the nine second-order spherical harmonics; all zero at first."""

    def __init__(self, width: int, device: torch.device, learnt: bool = True) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(BASIS_SIZE, width, device=device), requires_grad=learnt)

    def forward(self, directions: Tensor) -> Tensor:
        """Unit directions (R, 3) to features (R, width)."""
        return direction_basis(directions) @ self.coefficients


def direction_basis(directions: Tensor) -> Tensor:
    """Real spherical harmonics up to order 2 of unit directions (..., 3), without their constant factors: (..., 9)."""
    x, y, z = directions.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], dim=-1)
