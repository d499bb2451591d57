"""Where in every view the shadow of a part that moves may be, before or after the edit (docs/method.md §4.6, ours).

The ground is a plane under the proxy, and one light casts the shadows. Where the light is, the source views tell: that direction
counts from which the proxy's shadow explains best where the ground is dark. Where none explains it, the region is the ground
under the part.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.ground import Ground, colours_of_ground, draw_shadow, ground_in_views, up_of
from qnerf.scenes.region import FINER, edited_region, flesh_of, moved_part
from qnerf.scenes.scene import Proxy, State
from qnerf.scenes.solids import Capsule, Solid

REACH = 3.0  # half the side of the ground that is looked at, in extents of the object
SPREAD = 0.15  # by how much a shadow's edge widens, for each unit of the height of what casts it
SPREAD_BELOW = 0.3  # the same where the light is not known
LEAST_CORRELATION = 0.42  # of the ground's darkness with the shadow that a light would cast
LEAST_DARKENING = 0.05  # of the logarithm of the ground's brightness, in the shadow
LEAST_LEAD = 1.25  # times the best correlation of *brightness* with a shadow, which a pattern of the ground has as often
LEAD_OF_ZERO = 0.1  # in correlation, of the world's own ground z = 0 before other heights that are tried
_ELEVATIONS, _AZIMUTHS = np.deg2rad(np.arange(25.0, 86.0, 7.5)), np.deg2rad(np.arange(0.0, 360.0, 10.0))
_STATES: tuple[State, State] = ("source", "target")
_VIEWS = 3  # that must see a cell of the ground
_DISAGREEMENT = 0.2  # standard deviation over views of the logarithm of its brightness: above it, it is no point of the ground
_LEAST_CELLS = 200
_CHROMA = 0.05  # a difference of chromaticity that tells one colour of the ground's pattern from another


@dataclass(frozen=True)
class Light:
    """Found by `find_light`. direction: (3,) unit, towards the light. correlation: of darkness and shadow. darkening: by how much
    the logarithm of the ground's brightness falls in the shadow."""

    ground: Ground
    direction: np.ndarray
    correlation: float
    darkening: float


def shadow_region(
    proxy: Proxy,
    cameras: Cameras,
    size: tuple[int, int],
    margin: float,
    light: Light | None,
    finer: int = FINER,
    zero: float = 0.0,
) -> Tensor:
    """Where the shadow of a part that moves may be before or after the edit: (N, h, w) float32, 0 or 1.

    size, margin, finer: as of `edited_region`. light: from `find_light`; None: the region is the ground under the part. zero: as
    of `grounds_under`.
    """
    flesh, (height, width) = flesh_of(proxy, margin), size
    ground = light.ground if light else grounds_under(proxy, cameras, flesh, zero)[0]
    towards, spread = (light.direction, SPREAD) if light else (ground.up, SPREAD_BELOW)
    part, states = moved_part(proxy), _STATES
    table = np.maximum(*(draw_shadow(solids_of(part, state, flesh), ground, towards, spread) for state in states))
    seen = ground_in_views(table, ground, cameras, (height * finer, width * finer))
    return (F.max_pool2d(seen[:, None], finer)[:, 0] > 0).float()


def find_light(proxy: Proxy, images: Tensor, cameras: Cameras, margin: float, zero: float = 0.0) -> Light | None:
    """The light whose shadow of the source's proxy explains best where the ground is dark in the source views (N, 3, H, W); None
    where that is no better than chance.

    Of the ground's brightness (the logarithm of the median over views), a slow change over the ground and what goes with
    chromaticity, which a shadow leaves alone, are taken away by least squares. The correlation of the rest with a shadow counts.
    zero: as of `grounds_under`.
    """
    flesh = flesh_of(proxy, margin)
    hidden = edited_region(proxy, cameras, (cameras.height, cameras.width), margin, finer=1).object
    solids, found = solids_of(proxy, "source", flesh), []
    for ground in grounds_under(proxy, cameras, flesh, zero):
        dark = _darkness(ground, colours_of_ground(ground, images, cameras, hidden))
        if dark is not None:
            lights = [light for elevation in _ELEVATIONS for light in ground.directions(_AZIMUTHS, elevation)]
            tried = dark.explained_by(solids, ground, lights)
            best = max(tried, key=_correlation)
            rank = best.correlation + (LEAD_OF_ZERO if ground.height == zero else 0.0)
            found.append((rank, best, min(tried, key=_correlation).correlation, dark))
    if not found:
        return None
    _, best, least, dark = max(found, key=lambda item: item[0])
    if best.correlation < max(LEAST_CORRELATION, -LEAST_LEAD * least) or best.darkening < LEAST_DARKENING:
        return None
    return max(dark.explained_by(solids, best.ground, _near(best)), key=_correlation)


def solids_of(proxy: Proxy, state: State, flesh: float) -> Sequence[Solid]:
    """What bounds a proxy; of a skeleton without bounds, a capsule of that radius round each bone."""
    if proxy.kind == "box" or proxy.source_bounds is not None or not proxy.bones:
        return proxy_bounds(proxy, state).solids
    points = (proxy.source if state == "source" else proxy.target).detach().cpu().double().numpy()
    return [Capsule(points[a], points[b], flesh, "bound") for a, b in proxy.bones]


def grounds_under(proxy: Proxy, cameras: Cameras, flesh: float, zero: float = 0.0) -> list[Ground]:
    """Where the ground may be: under the proxy's lowest point, under its lowest flesh, between them, and, before these, the world's
    own z = 0 if it is near them. zero: where that is in the scene's coordinates (`World.zero`)."""
    up, solids = up_of(cameras), solids_of(proxy, "source", flesh)
    hulls = [solid.hull() for solid in solids]
    points = np.concatenate([points for points, _ in hulls])
    middle, extent = (points.min(axis=0) + points.max(axis=0)) / 2, float(np.ptp(points, axis=0).max())
    bones = float((proxy.source.detach().cpu().double().numpy() @ up).min())
    flesh_at = min(float((points @ up).min()) - radius for points, radius in hulls)
    heights = [(bones + flesh_at) / 2, bones, flesh_at]
    if up[2] > 0.99 and min(bones, flesh_at) - 0.05 * extent <= zero <= max(bones, flesh_at) + 0.05 * extent:
        heights.insert(0, zero)
    return [Ground(up, height, middle + (height - up @ middle) * up, REACH * extent) for height in dict.fromkeys(heights)]


@dataclass(frozen=True)
class _Darkness:
    """How dark cells of the ground are. cells: (CELLS²,) bool, those that count, P of them. values: (P,), `fit` taken away. fit,
    away: (P, F) and (F, P): `fit @ (away @ x)` is what least squares find of x (P,)."""

    cells: np.ndarray
    values: np.ndarray
    fit: np.ndarray
    away: np.ndarray

    def explained_by(self, solids: Sequence[Solid], ground: Ground, lights: Sequence[np.ndarray]) -> list[Light]:
        """How well the shadows that the solids cast from these directions (3,) explain it."""
        drawn = [cv2.GaussianBlur(draw_shadow(solids, ground, light), (0, 0), 1.0).reshape(-1)[self.cells] for light in lights]
        shadows = np.stack(drawn).astype(np.float64)
        shadows -= shadows @ self.away.T @ self.fit.T
        squares, products = (shadows**2).sum(axis=1) + 1e-9, shadows @ self.values
        correlations = products / np.sqrt(squares * ((self.values**2).sum() + 1e-9))
        found = zip(lights, correlations.tolist(), (products / squares).tolist(), strict=True)
        return [Light(ground, light, correlation, darkening) for light, correlation, darkening in found]


def _darkness(ground: Ground, colours: np.ndarray) -> _Darkness | None:
    """From the colours (N, CELLS², 3) of the cells in all views. None where too little of the ground is seen."""
    where = ground.cells()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells that no view sees
        colour, spread = np.nanmedian(colours, axis=0), np.nanstd(np.log(0.02 + colours.mean(axis=-1)), axis=0)
    seen = np.isfinite(colours[..., 0]).sum(axis=0) >= min(_VIEWS, len(colours))
    cells = seen & (np.nan_to_num(spread, nan=np.inf) < _DISAGREEMENT) & ((where**2).sum(axis=1) < 1)
    if cells.sum() < _LEAST_CELLS:
        return None
    colour, (x, y) = colour[cells], where[cells].T
    chroma = (colour / np.maximum(colour.sum(axis=1, keepdims=True), 0.02))[:, :2]
    chroma = (chroma - np.median(chroma, axis=0)) / _CHROMA
    slow = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    fit = np.concatenate([slow, chroma, chroma**2], axis=1)
    # A ridge for chromaticity, which is noisy: where it hardly changes, it explains nothing.
    ridge = np.diag([1e-9] * slow.shape[1] + [0.1] * 4) * len(fit)
    away = np.linalg.solve(fit.T @ fit + ridge, fit.T)
    darkness = -np.log(0.02 + colour.mean(axis=1))
    return _Darkness(cells, darkness - fit @ (away @ darkness), fit, away)


def _near(light: Light) -> list[np.ndarray]:
    """Directions round one, finer than those of the search, itself among them."""
    ground, (x, y) = light.ground, light.ground.axes @ light.direction
    elevation, azimuths = np.arcsin(light.direction @ ground.up), np.arctan2(y, x) + np.deg2rad([-6.0, -3.0, 0.0, 3.0, 6.0])
    return [one for tilt in (-5.0, -2.5, 0.0, 2.5, 5.0) for one in ground.directions(azimuths, elevation + np.deg2rad(tilt))]


def _correlation(light: Light) -> float:
    return light.correlation
