"""The space of a field: a ball of interest inside an unbounded scene.

The ball of `radius` round `focus` becomes the unit ball; everything outside is contracted to radius 2 by mip-NeRF 360
(Barron et al. 2022, eq. 10): x -> (2 - 1/|x|) x/|x|. The hash grid covers the cube [-2, 2]^3, mapped to [0, 1]^3.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Space:
    """focus: (3,) centre of the ball of interest, world units. radius: its radius, world units. limits: how far off
    the scene is from its cameras at least and at most, where that is known: rays reach at least so far."""

    focus: Tensor
    radius: float
    limits: tuple[float, float] | None = None

    def to_cube(self, points: Tensor) -> Tensor:
        """World points (..., 3) to the contracted cube [0, 1]^3."""
        local = (points - self.focus.to(points)) / self.radius
        return contract(local).add(2.0).div(4.0).clamp(0.0, 1.0)

    @staticmethod
    def from_cube(positions: Tensor) -> Tensor:
        """[0, 1]^3 to contracted coordinates in [-2, 2]^3, where the ball of interest is the unit ball."""
        return positions * 4.0 - 2.0


def contract(points: Tensor) -> Tensor:
    """mip-NeRF 360's contraction of (..., 3): the unit ball is left alone, all the rest goes into the shell of radius 1 to 2."""
    norm = points.norm(dim=-1, keepdim=True).clamp_min(1.0)
    return points * ((2.0 - 1.0 / norm) / norm)


def contract_line(x: Tensor) -> Tensor:
    """The same contraction of the number line: [-1, 1] is left alone, ±infinity goes to ±2."""
    size = x.abs().clamp_min(1.0)
    return x * ((2.0 - 1.0 / size) / size)


def uncontract_line(y: Tensor) -> Tensor:
    """The inverse of `contract_line` on (-2, 2)."""
    size = y.abs().clamp_min(1.0)
    return y / (size * (2.0 - size))
