"""Pictures of the edited scene, made of the source's: posed parts over source pixels, and how far each pixel is to be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.posing.agreement import SURE, agreement, alternatives
from qnerf.fields.posing.carving import source_views
from qnerf.fields.posing.flesh import Radiant
from qnerf.fields.posing.march import Marched, march
from qnerf.fields.posing.pictures import seen_in
from qnerf.fields.posing.posed_field import PosedField, object_room, pose_field
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Proxy

RAY_CHUNK = 2048
VISIBLE = 0.03  # how near the seen surface a point must be to count as seen, as a share of the extent
# standard deviation of the depth at which a ray is stopped, as shares of the extent: up to the first
# it is a surface's, and the second is the excess of fog that is believed by 1/e
FIRM, FOGGY = 0.03, 0.02
DOUBT = 0.1  # how far from what changes a proxy beside the flesh makes pixels doubtful, as a share of the extent
OnWork = Callable[[int, int], None]
"""on_work(done, total), in rays."""


@dataclass(frozen=True)
class PosedViews:
    """N views of H x W pixels of the scene after the edit, as the source shows it.

    images: (N, 3, H, W) in [0, 1]; source pixels where nothing changes. changed: (N, H, W) in [0, 1], the share of the pixel that
    a moved part covers before or after the edit. moved: (N, H, W) in [0, 1], the opacity of moved parts after the edit.
    trust: (N, H, W) in [0, 1], how far the pixel is to be believed; 1 where nothing changes. depth: (N, H, W), expected distance
    along the ray, world units.
    """

    images: Tensor
    changed: Tensor
    moved: Tensor
    trust: Tensor
    depth: Tensor


@torch.no_grad()
def pose_views(
    field: Radiant, proxy: Proxy, cameras: Cameras, images: Tensor, settings: PosingSettings, on_work: OnWork | None = None
) -> PosedViews:
    """Render the edited scene in every camera. images: (N, 3, H, W) in [0, 1], the source's, on the cameras' device.

    Everything follows from the arguments: no random numbers are drawn.
    """
    size = (len(cameras), cameras.height, cameras.width)
    room = object_room(field, proxy, images.device)
    views = source_views(field, cameras, images, room, settings.samples // 2)
    depth = F.interpolate(views.depth[:, None], size=size[1:], mode="nearest")[:, 0]
    posed = pose_field(field, proxy, settings, room, views)
    zero = torch.zeros(size, device=images.device)
    if posed is None:
        return PosedViews(images.clone(), zero, zero.clone(), torch.ones_like(zero), depth)
    others = [] if posed.fit.trust >= SURE else alternatives(field, proxy, posed.fit.measured, settings, room, views)
    coarse = [_Rays.of(each, views.cameras) for each in ([posed, *others] if others else [])]
    fine = _Rays.of(posed, cameras)
    told = _told(on_work, sum(len(rays.rows) for rays in [*coarse, fine]))
    trust = posed.fit.trust
    if others:
        found = [_compose(rays, views.images, views.depth, rays.march(settings, told), settings, trust) for rays in coarse]
        trust = max(trust, agreement([each.images for each in found], [each.changed for each in found]))
    return _compose(fine, images, depth, fine.march(settings, told), settings, trust)


@dataclass(frozen=True)
class _Rays:
    """The pixels of the cameras that may show what moves: rows (R,) of all N H W."""

    posed: PosedField
    cameras: Cameras
    rows: Tensor

    @staticmethod
    def of(posed: PosedField, cameras: Cameras) -> _Rays:
        """Those of a field in all cameras."""
        return _Rays(posed, cameras, _touched(posed, cameras).flatten().nonzero()[:, 0])

    def march(self, settings: PosingSettings, told: Callable[[int], None]) -> Marched:
        """told(rays): called after each chunk."""
        grid = TokenGrid(len(self.cameras), self.cameras.height, self.cameras.width)
        chunks: list[Marched] = []
        for pixels in self.rows.split(RAY_CHUNK):
            rays = grid.rays(self.cameras, pixels, torch.full((len(pixels), 2), 0.5, device=pixels.device))
            chunks.append(march(self.posed, rays, settings.samples))
            told(len(pixels))
        return Marched.joined(chunks)


def _told(on_work: OnWork | None, total: int) -> Callable[[int], None]:
    """Counts rays for `on_work`."""
    done = 0

    def told(rays: int) -> None:
        nonlocal done
        done += rays
        if on_work is not None and total:  # no view may show what moves
            on_work(done, total)

    return told


def _touched(posed: PosedField, cameras: Cameras) -> Tensor:
    """Pixels (N, H, W) bool that may show what moves, before or after: cells of the grid of labels, drawn as squares."""
    warp, flesh = posed.warp, posed.warp.labels.flesh
    centres = flesh.centres()
    points = []
    for index, part in enumerate(warp.parts):
        cells = centres[(warp.labels.shares[index] > 0) & (flesh.opacity > 0.02)]
        points += [cells, part.motion.forward(cells)]
        for joint in warp.joints[index]:
            ball = centres[(centres - joint.source).norm(dim=-1) < 1.3 * joint.radius + flesh.step]
            points += [ball, part.motion.forward(ball)]
    xy, z_depth = cameras.project(torch.cat(points))
    canvas = torch.zeros(len(cameras), cameras.height, cameras.width, device=xy.device)
    column, row = xy.floor().long().unbind(-1)
    seen = (z_depth > 1e-3) & (column >= 0) & (column < cameras.width) & (row >= 0) & (row < cameras.height)
    view = torch.arange(len(cameras), device=xy.device)[:, None].expand_as(column)
    canvas[view[seen], row[seen], column[seen]] = 1
    nearest = z_depth[z_depth > 1e-3].min() if (z_depth > 1e-3).any() else z_depth.new_tensor(1.0)
    wide = int((flesh.step * cameras.focal.max() / nearest).ceil()) + 1
    return F.max_pool2d(canvas[:, None], 2 * wide + 1, 1, wide)[:, 0] > 0


def _compose(
    rays: _Rays, images: Tensor, depth: Tensor, found: Marched, settings: PosingSettings, proxy_trust: float
) -> PosedViews:
    """The field's picture of the edited scene, plus what the source's picture has and the field's of it
    has not.

    found: what the rays have met. proxy_trust: of the proxy as a whole.
    """
    posed, cameras, rows, size = rays.posed, rays.cameras, rays.rows, depth.shape
    source = images.permute(0, 2, 3, 1).reshape(-1, 3)[rows]
    zero = torch.zeros_like(depth)

    def placed(values: Tensor, base: Tensor) -> Tensor:
        filled = base.clone().flatten()
        filled[rows] = values
        return filled.view(size)

    source_depth = placed(found.source_depth, depth)
    # What the field does not know of the picture is kept, but where and beside where something has left.
    wide = round(settings.border)
    left = F.max_pool2d(placed(found.gone, zero)[:, None], 2 * wide + 1, 1, wide).flatten()[rows]
    unknown = (1 - left / 0.1).clamp_min(0)[:, None] * (source - found.source)
    colour = found.moved_colour + found.rest + (1 - found.moved)[:, None] * unknown
    changed = torch.maximum(found.moved, found.gone)

    pictures = torch.stack([placed(colour[:, c], images[:, c]) for c in range(3)], dim=1).clamp(0, 1)
    shown, moved = placed(changed, zero), placed(found.moved, zero)
    weight = _widened(shown, settings.border)[:, None]
    trust = _even(placed(_trust(posed, cameras, found, source_depth), torch.ones_like(depth)), shown)
    trust = trust * (1 - (1 - proxy_trust) * _doubtful(posed, cameras, shown, depth))
    return PosedViews(images + weight * (pictures - images), shown, moved, trust, placed(found.depth, depth))


def _widened(changed: Tensor, border: float) -> Tensor:
    """How far the posed picture counts, (N, H, W): 1 where anything changes noticeably, falling to 0 within `border` pixels."""
    wide = round(border)
    full = (changed > 0.02).float()[:, None]
    grown = F.max_pool2d(full, 2 * wide + 1, 1, wide)
    return F.avg_pool2d(F.pad(grown, (wide,) * 4, mode="replicate"), 2 * wide + 1, 1)[:, 0].maximum(full[:, 0])


def _even(trust: Tensor, changed: Tensor) -> Tensor:
    """Trust (N, H, W) as the mean over 3 x 3 pixels, by how far each changes, where any does noticeably: a depth that one
    ray misses is no speck."""
    pair = F.avg_pool2d(torch.stack([trust * changed, changed], dim=1), 3, 1, 1)
    return torch.where(changed > 1e-3, pair[:, 0] / pair[:, 1].clamp_min(1e-9), trust)


def _doubtful(posed: PosedField, cameras: Cameras, changed: Tensor, depth: Tensor) -> Tensor:
    """Where a proxy beside the flesh makes pixels doubtful, (N, H, W) in [0, 1]: what changes, and softly beside it."""
    shown = changed > 0.02
    near = (depth[shown] if shown.any() else depth).median()
    wide = max(1, round(DOUBT * posed.extent * float(cameras.focal.mean() / near)))
    grown = F.max_pool2d(shown.float()[:, None], 2 * wide + 1, 1, wide)
    return F.avg_pool2d(F.pad(grown, (wide // 2,) * 4, mode="replicate"), 2 * (wide // 2) + 1, 1)[:, 0]


def _trust(posed: PosedField, cameras: Cameras, found: Marched, source_depth: Tensor) -> Tensor:
    """(R,) in [0, 1]: by how much moved parts are opaque, no fog, seen in the source, far from seams and
    of a part that fits; where a part has left, whether any source view sees what appears; in between,
    by their shares."""
    seen = seen_in(found.place, cameras, source_depth, VISIBLE * posed.extent).amax(0)
    fit = torch.where(found.part >= 0, posed.fits[found.part.clamp_min(0)], 1.0)
    fog = (found.spread / posed.extent - FIRM).clamp_min(0) / FOGGY
    own = found.inside * fit * seen * torch.exp(-fog.square())
    uncovered = torch.maximum(found.gone - found.moved, torch.zeros_like(seen))
    still = (1 - found.moved - uncovered).clamp_min(0)
    return (found.moved * own + uncovered * seen + still).clamp(0, 1)
