"""What bounds an object without tracing it: few inflated solids, and one box. The loosest controls are drawn from these alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.scene import Bounds, Proxy, State
from qnerf.scenes.solids import ROUNDING, Box, Capsule, Solid

# Twelve edges of a box whose corner k lies at the high end of axis a where bit a of k is set; grouped by axis.
BOX_EDGES: tuple[tuple[int, int], ...] = tuple(
    (corner, corner | 1 << axis) for axis in range(3) for corner in range(8) if not corner & 1 << axis
)
LIMB_RADIUS = 0.11  # of bones whose proxy says nothing of bounds, times the longest side of the box round its joints


def bounding_box(points: Tensor) -> Tensor:
    """The axis-aligned box round points (..., J, 3): its corners (..., 8, 3) in the order that `BOX_EDGES` joins."""
    low, high = points.amin(dim=-2), points.amax(dim=-2)
    corners = [torch.stack([(high if corner & 1 << axis else low)[..., axis] for axis in range(3)], dim=-1) for corner in range(8)]
    return torch.stack(corners, dim=-2)


def box_from_corners(corners: np.ndarray) -> Box:
    """The solid box with these corners (8, 3), in the order that `BOX_EDGES` joins."""
    edges = corners[[1, 2, 4]] - corners[0]
    lengths = np.maximum(np.linalg.norm(edges, axis=1), 1e-6)
    half = lengths / 2
    return Box(corners.mean(axis=0), half, (edges / lengths[:, None]).T, ROUNDING * float(half.min()), "bound")


def proxy_bounds(proxy: Proxy, state: State) -> Bounds:
    """The bounds of a proxy's state.

    A proxy without any has a capsule round each bone, `LIMB_RADIUS` thick, and the axis-aligned box round its joints; a
    box proxy has its box.
    """
    points, own = (proxy.source, proxy.source_bounds) if state == "source" else (proxy.target, proxy.target_bounds)
    if own is not None:
        return own
    positions = points.detach().cpu().double().numpy()
    if proxy.kind == "box":
        return Bounds((box_from_corners(positions),), points)
    reach = LIMB_RADIUS * float(np.ptp(proxy.source.detach().cpu().double().numpy(), axis=0).max())
    bones = proxy.bones or [(joint, joint) for joint in range(len(positions))]
    capsules = tuple(Capsule(positions[a], positions[b], max(reach, 1e-3), "bound") for a, b in bones)
    return Bounds(capsules, bounding_box(points))


def ball_round(solids: Sequence[Solid]) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of a ball that contains all the solids."""
    hulls = [solid.hull() for solid in solids]
    points = np.concatenate([points for points, _ in hulls])
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    return centre, max(float(np.linalg.norm(points - centre, axis=1).max()) + radius for points, radius in hulls)
