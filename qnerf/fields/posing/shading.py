"""Light that stays where it is while parts turn: how bright the source's surfaces are by the
direction that they face.

A light from one side, or a soft sky, makes brightness a function of the normal alone. Its
logarithm, linear in the normal, is fitted to the source field's own surface, and a part that turns
is as much brighter or darker as its new normals ask for (docs/method.md §7.2, ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qnerf.fields.posing.carving import SourceViews
from qnerf.fields.posing.distance import blurred
from qnerf.fields.posing.flesh import CHUNK, Flesh, Radiant
from qnerf.fields.posing.pictures import seen_in

BLUR = 1.5  # cells over which normals are evened out
DARK = 0.02  # added to brightness before its logarithm
CHROMA = 0.05  # a difference of chromaticity that tells one paint from another
# surface that must be seen; share of the variance that normals must explain
LEAST_CELLS, LEAST_SHARE = 300, 0.3
STIFF = 0.01  # ridge of the fit, a cell
MOST = 0.8  # change of the logarithm


@dataclass(frozen=True)
class Shading:
    """flesh: whose grid normals (4, X, Y, Z) lie on, outwards, and how sure they are, in [0, 1].
    weights: (3,) of a normal."""

    flesh: Flesh
    normals: Tensor
    weights: Tensor

    def change(self, places: Tensor, rotation: Tensor) -> Tensor:
        """What colours of source points (P, 3) are multiplied by once a part is turned, (P, 1).
        rotation: (3, 3), to the source."""
        found = self.flesh.lookup(self.normals, places)
        normal = found[:, :3] / found[:, :3].norm(dim=-1, keepdim=True).clamp_min(1e-6)
        change = (normal @ rotation - normal) @ self.weights
        return (found[:, 3] * change).clamp(-MOST, MOST).exp()[:, None]


@torch.no_grad()
def fit_shading(field: Radiant, flesh: Flesh, matter: Tensor, views: SourceViews, near: float) -> Shading | None:
    """From the surface of `matter` (X, Y, Z) that the views see; None where normals explain too
    little of its brightness.

    Paints of another chromaticity may be brighter or darker: of each, the mean is taken away. near:
    how near the seen surface a cell must be to be seen, world units.
    """
    slope = torch.stack(torch.gradient(blurred(matter, BLUR)))
    steep = slope.norm(dim=0)
    sure = (steep / (0.5 * steep.max().clamp_min(1e-6))).clamp_max(1)
    normals = torch.cat([-slope, sure[None]])
    surface = ((matter > 0.5) & (sure > 0.5)).flatten()
    places = flesh.centres().view(-1, 3)[surface]
    seen = seen_in(places, views.cameras, views.depth, near).amax(0) > 0.5
    places = places[seen]
    if len(places) < LEAST_CELLS:
        return None
    colour = torch.cat([field.radiance(part)[1] for part in places.split(CHUNK)])
    total = colour.sum(-1, keepdim=True)
    _, paint = (colour[:, :2] / total.clamp_min(1e-3) / CHROMA).round().unique(dim=0, return_inverse=True)
    normal = -slope.flatten(1).T[surface][seen]
    values = torch.cat([normal / normal.norm(dim=-1, keepdim=True), (total / 3 + DARK).log()], dim=1)
    values = values - _means(values, paint)[paint]
    given, bright = values[:, :3], values[:, 3]
    weights = torch.linalg.solve(given.T @ given + STIFF * len(given) * torch.eye(3).to(given), given.T @ bright)
    unexplained = (bright - given @ weights).square().mean() / bright.square().mean().clamp_min(1e-9)
    return None if unexplained > 1 - LEAST_SHARE else Shading(flesh, normals, weights)


def _means(values: Tensor, group: Tensor) -> Tensor:
    """Means of the rows (P, F) of each group (P,), (G, F)."""
    count = torch.bincount(group).clamp_min(1)
    sums = values.new_zeros(len(count), values.shape[1]).index_add(0, group, values)
    return sums / count[:, None]
