"""The plane that the object stands on or hangs on: the one on whose colours the views agree.

A floor is looked for first (`ground_height`). Where the views agree on none, a wall is: an upright plane, which may lean. Whether
they agree on it is seen in fine detail, since smooth shades are alike on many planes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from qnerf.fields.ground_height import ground_height
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Cameras

POINTS = 32
"""Per axis, of the square about the focus in which the views are compared."""
UNEXPLAINED = 0.5
"""Of the variance of fine detail on a wall, the most that may lie between views of the same points. It is 0.3 on a photographed
wall, and 0.7 and more on upright planes in procedural scenes, where there is no wall."""
DETAIL = 8
"""Fine is what differs from the mean of a square whose side is the picture's through this."""
AZIMUTHS = 24
"""Directions in which an upright plane is looked for."""


def find_plane(images: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> Tensor | None:
    """(4,): the unit normal n, towards the cameras, and the offset n · p of its points p, world units; None where the views agree
    on no plane.

    images: (N, 3, H, W). hidden: (N, H, W) bool, pixels that may show the object, which are not compared.
    """
    height = ground_height(images, cameras, space, hidden)
    if height is not None:
        return torch.tensor([0.0, 0.0, 1.0, height])
    return _wall(fine_detail(images, hidden), cameras, space, hidden)


def fine_detail(images: Tensor, hidden: Tensor) -> Tensor:
    """images (N, 3, H, W) minus their means round each pixel over what is not `hidden` (N, H, W)."""
    reach = max(1, images.shape[-1] // (2 * DETAIL))
    shown = (~hidden).to(images)[:, None]

    def total(values: Tensor) -> Tensor:
        return avg_pool2d(pad(values, (reach,) * 4), 2 * reach + 1, 1)

    return images - total(images * shown) / total(shown).clamp_min(1e-3)


def _wall(detail: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> Tensor | None:
    """The upright plane that explains most, turned and moved as long as it explains more. detail: as `fine_detail`."""

    def worth(plane: Tensor) -> float:
        return agreement(plane, detail, cameras, space, hidden).explained

    angles = torch.arange(AZIMUTHS) * (2 * math.pi / AZIMUTHS)
    normals = torch.stack([angles.cos(), angles.sin(), torch.zeros_like(angles)], dim=-1)
    starts = [_at(normal, float(away), space) for normal in normals for away in torch.linspace(-1.5, 0.5, 21) * space.radius]
    values = [worth(plane) for plane in starts]
    most = max(values)
    best = starts[values.index(most)]
    for step in (0.1, 0.05, 0.025, 0.0125, 0.006):
        for _ in range(3):
            for change in _changes(best, step, space):
                if (value := worth(change)) > most:
                    best, most = change, value
    return best if agreement(best, detail, cameras, space, hidden).unexplained <= UNEXPLAINED else None


def _at(normal: Tensor, away: float, space: Space) -> Tensor:
    """The plane square to `normal` (3,), `away` from the focus."""
    normal = normal / normal.norm()
    return torch.cat([normal, (normal @ space.focus.cpu() + away)[None]])


def _changes(plane: Tensor, step: float, space: Space) -> list[Tensor]:
    """The plane turned by `step`, radians, about two axes through its point nearest to the focus, or moved by `step`, radii."""
    normal, away = plane[:3], float(plane[3] - plane[:3] @ space.focus.cpu())
    turns = [_at(normal + sign * step * axis, away, space) for axis in plane_axes(normal) for sign in (-1.0, 1.0)]
    return turns + [_at(normal, away + sign * step * space.radius, space) for sign in (-1.0, 1.0)]


def plane_axes(normal: Tensor) -> Tensor:
    """Two directions (2, 3) that span a plane of unit `normal` (3,); x and y where it is z."""
    least = torch.eye(3, device=normal.device)[normal.abs().argmin()]
    first = least - (least @ normal) * normal
    first = first / first.norm()
    return torch.stack([first, torch.linalg.cross(normal, first)])


@dataclass(frozen=True)
class Agreement:
    """Of the points of a plane that at least three views see. unexplained: the share of their colours' variance that is over views.
    covered: the share that is seen of all pairs of a view and a point of the square: few views side by side agree on any plane."""

    unexplained: float = math.inf
    covered: float = 0.0

    @property
    def explained(self) -> float:
        """0 to 1: the share of what all views might show of the square that the plane explains."""
        return self.covered * max(0.0, 1 - self.unexplained)


def agreement(plane: Tensor, images: Tensor, cameras: Cameras, space: Space, hidden: Tensor) -> Agreement:
    """How far views agree on the colours of a plane (4,). A view sees it from a tenth of the radius before it."""
    axis = torch.linspace(-1, 1, POINTS, device=images.device) * space.radius
    y, x = (line.reshape(-1, 1) for line in torch.meshgrid(axis, axis, indexing="ij"))
    plane, focus = plane.to(images), space.focus.to(images)
    normal = plane[:3]
    first, second = plane_axes(normal)
    points = focus + (plane[3] - normal @ focus) * normal + x * first + y * second
    pixels, z_depth = cameras.project(points)
    places = (pixels / pixels.new_tensor([cameras.width, cameras.height]) * 2 - 1)[:, :, None]
    colours = grid_sample(images, places, align_corners=False)[..., 0]
    covered = grid_sample(hidden.float()[:, None], places, align_corners=False)[:, 0, :, 0]
    before = (cameras.positions @ normal - plane[3] > 0.1 * space.radius)[:, None]
    seen = before & (z_depth > 0) & (places[:, :, 0].abs() < 1).all(dim=-1) & (covered == 0)
    pairs, views = seen.numel(), seen.sum(dim=0)
    enough = views >= 3
    if enough.sum() < POINTS:
        return Agreement()
    colours, seen, views = colours[:, :, enough], seen[:, None, enough], views[enough]
    mean = (colours * seen).sum(dim=0) / views
    spread = ((colours - mean).square() * seen).sum(dim=0)
    overall = (mean * views).sum(dim=1) / views.sum()
    total = ((colours - overall[:, None]).square() * seen).sum() / seen.sum()
    within = spread.sum() / (views - 1).sum()
    return Agreement(float(within / total.clamp_min(1e-12)), float(views.sum() / pairs))
