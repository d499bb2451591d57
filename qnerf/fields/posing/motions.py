"""How points of the edited scene go back to the source: affine maps of rigid parts, and a smooth deformation of a whole object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Motion(Protocol):
    """back: points (P, 3) of the edited scene to the source's. forward: the other way. rotation: (3, 3) of back, about."""

    @property
    def rotation(self) -> Tensor: ...

    def back(self, points: Tensor) -> Tensor: ...

    def forward(self, points: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Affine:
    """x_source = origin_source + linear (x_target - origin_target). linear, rotation: (3, 3). Origins: (3,)."""

    linear: Tensor
    rotation: Tensor
    origin_source: Tensor
    origin_target: Tensor

    def back(self, points: Tensor) -> Tensor:
        return (points - self.origin_target) @ self.linear.T + self.origin_source

    def forward(self, points: Tensor) -> Tensor:
        return (points - self.origin_source) @ torch.linalg.inv(self.linear).T + self.origin_target


class Spline:
    """The smoothest map that takes K points to K others: a thin-plate spline in three dimensions (Bookstein 1989).

    y = A x + b + Σ_k c_k |x - p_k|. It is affine where the correspondences are: a turned or resized box is mapped exactly.
    """

    def __init__(self, source: Tensor, target: Tensor) -> None:
        self.to_source, self.to_target = _Spline(target, source), _Spline(source, target)
        u, _, v = torch.linalg.svd(self.to_source.coefficients[-3:].T)
        self.rotation = u @ v

    def back(self, points: Tensor) -> Tensor:
        return self.to_source(points)

    def forward(self, points: Tensor) -> Tensor:
        return self.to_target(points)


class _Spline:
    """points, values: (K, 3). Coplanar points leave the affine map open across their plane: there it is the identity."""

    def __init__(self, points: Tensor, values: Tensor) -> None:
        self.points = points
        p, offset = points.double().cpu(), (values - points).double().cpu()  # not every device has float64
        count = len(p)
        affine = torch.cat([torch.ones(count, 1, dtype=p.dtype), p - p.mean(0)], 1)
        system = torch.zeros(count + 4, count + 4, dtype=p.dtype)
        system[:count, :count], system[:count, count:], system[count:, :count] = torch.cdist(p, p), affine, affine.T
        right = torch.cat([offset, torch.zeros(4, 3, dtype=p.dtype)])
        solved = torch.linalg.pinv(system, rtol=1e-8) @ right
        solved[-3:] += torch.eye(3, dtype=p.dtype)
        solved[-4] += p.mean(0)
        self.centre, self.coefficients = p.mean(0).to(points), solved.to(points)

    def __call__(self, x: Tensor) -> Tensor:
        far, affine = torch.cdist(x, self.points, compute_mode="donot_use_mm_for_euclid_dist"), x - self.centre
        count = len(self.points)
        return far @ self.coefficients[:count] + self.coefficients[count] + affine @ self.coefficients[count + 1 :]


def turn_between(source: tuple[Tensor, Tensor | None], target: tuple[Tensor, Tensor | None]) -> Tensor:
    """The rotation (3, 3) that takes a target direction to the source's.

    source, target: a direction (3,), and one of the bone beside it, which with it spans a plane, or None. The least rotation
    (half a turn where the two are opposite), and then the twist that takes plane to plane, 90° at most: bones that bend to the
    other side of a hinge are not twisted.
    """
    least = _least_turn(target[0] / target[0].norm(), source[0] / source[0].norm())
    if source[1] is None or target[1] is None:
        return least
    ends = _frame(target[0], target[1]).T
    turns = [_frame(source[0], sign * source[1]) @ ends for sign in (1.0, -1.0)]
    return max(turns, key=lambda turn: float((least * turn).sum()))


def _least_turn(u: Tensor, v: Tensor) -> Tensor:
    """The rotation (3, 3) by the least angle that takes a unit direction (3,) to another."""
    if float(u @ v) < -1 + 1e-6:
        across = _any_across(u)
        return 2 * torch.outer(across, across) - torch.eye(3, device=u.device)
    k = cross_matrix(torch.linalg.cross(u, v))
    return torch.eye(3, device=u.device) + k + k @ k / (1 + u @ v)


def cross_matrix(axis: Tensor) -> Tensor:
    """The matrix (3, 3) of the cross product with axis (3,)."""
    x, y, z = axis.unbind()
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)


def rotation_axis(rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Unit axis (3,) and angle () in [0, π] of a rotation (3, 3)."""
    skew = torch.stack([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]) / 2
    angle = torch.atan2(skew.norm(), (rotation.diagonal().sum() - 1) / 2)
    if skew.norm() > 1e-4:
        return skew / skew.norm(), angle
    symmetric = (rotation + torch.eye(3, device=rotation.device)) / 2  # of half a turn: the outer product of the axis with itself
    axis = symmetric[:, symmetric.diagonal().argmax()]
    return axis / axis.norm(), angle


def turn_points(points: Tensor, axis: Tensor, angles: Tensor) -> Tensor:
    """Points (P, 3) about an axis (3,) through the origin by angles (P,): Rodrigues' formula."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    return points * cos + torch.linalg.cross(axis.expand_as(points), points) * sin + axis * (points @ axis)[:, None] * (1 - cos)


def _frame(along: Tensor, across: Tensor) -> Tensor:
    x = along / along.norm()
    y = across - (across @ x) * x
    y = y / y.norm()
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=1)


def _any_across(u: Tensor) -> Tensor:
    across = torch.linalg.cross(u, torch.eye(3, device=u.device)[u.abs().argmin()])
    return across / across.norm()
