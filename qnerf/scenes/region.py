"""Where in every view the edit happens: the old and the new proxy, inflated (docs/method.md §2.5,
restriction ours)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.scenes.bounds import bounding_box
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.loose_depth import draw_loose_depth
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Solid

_NEAR = 1e-3  # world units in front of the camera: anything nearer is skipped
FINER = 8  # the region of the latents is drawn this many times finer, then any touched cell counts
_FAR_OFF = 16_000.0  # pixels: inside cv2's range


STILL = 0.01  # what moves by less, as a share of the proxy's extent, does not move


@dataclass(frozen=True)
class EditedRegion:
    """Where the edit happens, each (N, h, w) float32, 0 or 1: `object` where any of the object may
    be before or after the edit, `moved` where a part of it may be that moves, `shadow` where the
    shadow of such a part may be (None: left as it is)."""

    object: Tensor
    moved: Tensor
    shadow: Tensor | None = None

    @property
    def released(self) -> Tensor:
        """(N, h, w), where a kept background is not kept: the object's region and that of the shadow."""
        return self.object if self.shadow is None else torch.maximum(self.object, self.shadow)

    def views(self, views: slice) -> EditedRegion:
        return EditedRegion(self.object[views], self.moved[views], None if self.shadow is None else self.shadow[views])

    def to(self, device: torch.device) -> EditedRegion:
        shadow = None if self.shadow is None else self.shadow.to(device)
        return EditedRegion(self.object.to(device), self.moved.to(device), shadow)


def edited_region(proxy: Proxy, cameras: Cameras, size: tuple[int, int], margin: float, finer: int = FINER) -> EditedRegion:
    """size: (h, w), say of the latents. Cells that the inflated proxies only touch count too: it is
    drawn `finer` times as fine.

    margin: radius of the flesh round a skeleton's bones, as a share of the proxy's height (its
    largest extent); a box is filled and grown by as much. A proxy that has bounds is where these
    are: they leave room enough by themselves.
    """
    flesh = flesh_of(proxy, margin)
    return EditedRegion(*(_covered(part, cameras, size, flesh, finer) for part in (proxy, moved_part(proxy))))


def given_region(masks: Tensor | None, views: int, size: tuple[int, int]) -> EditedRegion:
    """The region of images without a proxy: where their masks (N, H, W) say, at size (h, w), or
    everywhere."""
    region = torch.ones(views, *size) if masks is None else tokens_inside(masks, *size).float()
    return EditedRegion(region, region)


def tokens_inside(region: Tensor, rows: int, columns: int) -> Tensor:
    """Which tokens of a map of rows x columns cover any of the region (V, h, w), 0 or 1: (V, rows,
    columns) bool."""
    return F.adaptive_max_pool2d(region, (rows, columns)) > 0


def moves(proxy: Proxy) -> bool:
    """Whether the edit moves any of the proxy: a joint, or a bounding solid."""
    least, before, after = STILL * extent(proxy), proxy.source_bounds, proxy.target_bounds
    if bool(((proxy.target - proxy.source).norm(dim=-1) > least).any()):
        return True
    if before is None or after is None:
        return False
    return any(differ(*pair, least) for pair in zip(before.solids, after.solids, strict=True))


def moved_part(proxy: Proxy) -> Proxy:
    """The proxy with those bones and bounding solids alone that the edit moves; all of a box, and
    of a proxy that stands still."""
    moves = (proxy.target - proxy.source).norm(dim=-1) > STILL * extent(proxy)
    bones = tuple((a, b) for a, b in proxy.bones if moves[a] or moves[b])
    if proxy.kind == "box" or not bones:
        return proxy
    before, after = proxy.source_bounds, proxy.target_bounds
    if before is None or after is None:
        return replace(proxy, bones=bones)
    pairs = [pair for pair in zip(before.solids, after.solids, strict=True) if differ(*pair, STILL * extent(proxy))]
    solids = [Bounds(tuple(side), bounds.corners) for side, bounds in zip(zip(*pairs, strict=True), (before, after), strict=True)]
    return replace(proxy, bones=bones, source_bounds=solids[0], target_bounds=solids[1]) if pairs else proxy


def flesh_of(proxy: Proxy, margin: float) -> float:
    """The radius of the flesh round a skeleton's bones, world units. margin: as a share of the
    proxy's extent."""
    return margin * extent(proxy)


def differ(before: Solid, after: Solid, least: float) -> bool:
    """Whether a solid moves by more than `least`, world units."""
    (points, radius), (others, other_radius) = before.hull(), after.hull()
    return points.shape != others.shape or max(float(np.abs(points - others).max()), abs(radius - other_radius)) > least


def extent(proxy: Proxy) -> float:
    """The longest side of the box round the joints of both states, world units."""
    points = torch.stack([proxy.source, proxy.target])
    return float((points.amax(dim=(0, 1)) - points.amin(dim=(0, 1))).max())


def _covered(proxy: Proxy, cameras: Cameras, size: tuple[int, int], flesh: float, finer: int) -> Tensor:
    """Where any of the proxy may be in either state, (N, h, w). flesh: world units."""
    height, width = size[0] * finer, size[1] * finer
    if proxy.source_bounds is not None and proxy.target_bounds is not None:
        bounded = [draw_loose_depth(proxy, state, cameras, (height, width))[:, :1] for state in ("source", "target")]
        return (F.max_pool2d(torch.maximum(*bounded), finer)[:, 0] > 0).float()
    views = cameras.resized(width, height)
    canvas = np.zeros((len(cameras), height, width), dtype=np.uint8)
    for pose in torch.stack([proxy.source, proxy.target]).double().cpu():
        if proxy.kind == "box":
            pose = _grown(bounding_box(pose), flesh)
        pixels, z_depth = (x.cpu().double().numpy() for x in views.project(pose.to(cameras.focal)))
        focal = views.focal[:, 0].tolist()
        for view, (xy, z) in enumerate(zip(pixels, z_depth, strict=True)):
            if proxy.kind == "box":
                _fill(canvas[view], xy, z)
            else:
                _inflate(canvas[view], xy, z, proxy.bones, flesh * focal[view])
    cells = canvas.reshape(len(cameras), size[0], finer, size[1], finer).max(axis=(2, 4))
    return torch.from_numpy((cells > 0).astype(np.float32)).to(cameras.focal.device)


def _grown(corners: Tensor, by: float) -> Tensor:
    centre = corners.mean(dim=0)
    return corners + by * (corners - centre).sign()


def _fill(canvas: np.ndarray, pixels: np.ndarray, z_depth: np.ndarray) -> None:
    """The convex hull of a box's corners; the whole view where a corner lies behind the camera."""
    if (z_depth <= _NEAR).any():
        canvas[:] = 1
        return
    hull = cv2.convexHull(np.rint(pixels.clip(-_FAR_OFF, _FAR_OFF)).astype(np.int32))
    cv2.fillConvexPoly(canvas, hull, 1)


def _inflate(canvas: np.ndarray, pixels: np.ndarray, z_depth: np.ndarray, bones: tuple[tuple[int, int], ...], size: float) -> None:
    """Each bone as a stroke whose half width is `size` / depth pixels, the radius seen from there."""
    ends = np.rint(pixels.clip(-_FAR_OFF, _FAR_OFF)).astype(int).tolist()
    for a, b in bones:
        depth = min(z_depth[a], z_depth[b])
        if depth > _NEAR:
            cv2.line(canvas, ends[a], ends[b], 1, max(1, round(2 * size / depth)))
