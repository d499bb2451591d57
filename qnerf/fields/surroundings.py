"""What stands behind and under the object without being a volume: a plane, floor or wall, and colours at infinity.

Both are learnt pictures: of the two coordinates on the plane, contracted like space, and of the direction. A few views explain a
floor or a far wall by fog before each camera; where a plane or a far picture explains them, no fog is needed, and what these
cannot explain is the object.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qnerf.fields.encodings.choice import build_encoding
from qnerf.fields.ground_plane import plane_axes
from qnerf.fields.settings import EncodingName, EncodingSettings
from qnerf.fields.space import Space, contract
from qnerf.fields.trunk import MAX_LOG_DENSITY, derive_seed, encoding_for, linear
from qnerf.scenes.cameras import Rays

THICKNESS = 0.01
"""Of the plane, radii."""
START = 500.0
"""The plane's density before training, per radius of length: 99 % opaque, seen from the front."""
FARTHEST = 1e3
"""Radii from the camera: what is farther on the plane is not looked at."""


class Picture(nn.Module):
    """`width` numbers for points (P, 3) of [0, 1]^3: a hash grid and a linear map."""

    def __init__(self, grid: EncodingSettings, encoding: EncodingName, width: int, device: torch.device, seed: int) -> None:
        super().__init__()
        self.encoding = build_encoding(grid, encoding_for(encoding, device), device, derive_seed(seed, 1))
        self.head = linear(self.encoding.width, width, torch.Generator().manual_seed(derive_seed(seed, 2)), device)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.encoding(points))

    @torch.no_grad()
    def start_from(self, colour: Tensor) -> None:
        """Shows `colour` (3,) in (0, 1) everywhere before training, and after it where nothing was seen."""
        self.head.bias.zero_()
        self.head.bias[-3:] = torch.logit(colour, eps=0.01)


class Sky(nn.Module):
    """The colour of a direction at infinity."""

    def __init__(self, grid: EncodingSettings, encoding: EncodingName, device: torch.device, seed: int) -> None:
        super().__init__()
        self.picture = Picture(grid, encoding, 3, device, seed)

    def forward(self, directions: Tensor) -> Tensor:
        """Unit directions (R, 3) to colours (R, 3) in [0, 1]."""
        return torch.sigmoid(self.picture(directions / 2 + 0.5))


class Ground(nn.Module):
    """A slab whose front is a plane (4,), as `ground_plane.find_plane` finds it: learnt density and colour of each place on it.

    It starts opaque. Where it explains nothing its density falls, and what lies behind is seen.
    """

    plane: Tensor
    axes: Tensor

    def __init__(
        self, plane: Tensor, grid: EncodingSettings, encoding: EncodingName, space: Space, device: torch.device, seed: int
    ) -> None:
        super().__init__()
        self.space = space
        self.picture = Picture(grid, encoding, 4, device, seed)
        self.register_buffer("plane", plane.to(device))
        self.register_buffer("axes", plane_axes(plane[:3]).to(device), persistent=False)

    def height(self, points: Tensor) -> Tensor:
        """Of points (..., 3) before the plane, (...), world units."""
        return points @ self.plane[:3] - self.plane[3]

    def crossing(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Distances (R, 2) at which rays (R, 3) enter the slab from the front and leave it, and whether they do, (R,) bool."""
        drop = -(rays.directions @ self.plane[:3])
        above = self.height(rays.origins)
        start = above / drop.clamp_min(1e-6)
        through = THICKNESS * self.space.radius / drop.clamp_min(1e-6)
        met = (drop > 1e-6) & (above > 0) & (start < FARTHEST * self.space.radius)
        return torch.stack([start, start + through], dim=-1), met

    def contains(self, points: Tensor) -> Tensor:
        """Whether points (..., 3) lie in the slab, (...) bool."""
        depth = -self.height(points)
        return (depth >= 0) & (depth <= THICKNESS * self.space.radius)

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """World points (P, 3), seen along the normal, to density (P,), per radius, and colour (P, 3) in [0, 1]."""
        flat = (points - self.space.focus.to(points)) @ self.axes.T / self.space.radius
        place = torch.nn.functional.pad(contract(flat), (0, 1))
        learnt = self.picture(place / 4 + 0.5)
        density = START * learnt[:, 0].clamp_max(MAX_LOG_DENSITY - math.log(START)).exp()
        return density, torch.sigmoid(learnt[:, 1:])
