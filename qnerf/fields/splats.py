"""3-D Gaussians (Kerbl et al., "3D Gaussian splatting", SIGGRAPH 2023) on the surface that a radiance field shows.

They are not trained as there: positions and sizes are the surface's, and of all Gaussians together only the colours are fitted to
the views, which is linear least squares once the weights of `splat_weights` are known. What lies behind the volume is Gaussians
far off. The renderer is plain and slow: it is what the fit rests on, and what tells how good the splat is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qnerf.fields.surface import CELL, Look, joined, normals, pixel_spacing
from qnerf.scenes.cameras import Cameras

OPACITY = 0.9  # of every Gaussian
WIDTH = 0.6  # standard deviation, times the distance of neighbours: less leaves gaps, more blurs
THICKNESS = 0.1  # of a Gaussian across the surface, times its width: round ones would stand out beside every outline
FAR = 300.0  # radii at which what no density stops is put, so far that all cameras see it in one direction
LOW_PASS = 0.3  # pixels², added to every projected covariance, as published
FAINT = 1 / 255  # opacity below which a Gaussian is not drawn, as published
WINDOW = 6  # pixels at most from its middle to which a Gaussian is drawn here
ITERATIONS = 12
KEPT = 0.02  # weight of a colour's distance from what it is to begin with


@dataclass(frozen=True)
class Splats:
    """P Gaussians. points: (P, 3), world units. colours: (P, 3). opacity: (P,) in (0, 1). scales: (P, 3) standard deviations, world
    units. rotations: (P, 4) unit quaternions (w, x, y, z) from the Gaussian's axes to the world's."""

    points: Tensor
    colours: Tensor
    opacity: Tensor
    scales: Tensor
    rotations: Tensor


@dataclass(frozen=True)
class Weights:
    """The pixels of one view of H x W that Gaussians take part in. pixel, splat: (K,) indices. weight: (K,), so that the view's
    pixel is Σ weight · colour of its entries."""

    pixel: Tensor
    splat: Tensor
    weight: Tensor
    height: int
    width: int

    def image(self, colours: Tensor) -> Tensor:
        """(H * W, 3) on black."""
        empty = torch.zeros(self.height * self.width, 3, dtype=self.weight.dtype)
        return empty.index_add_(0, self.pixel, self.weight[:, None] * colours[self.splat])

    def spread(self, pixels: Tensor, count: int) -> Tensor:
        """The transpose of `image`: (H * W, 3) to (count, 3)."""
        return torch.zeros(count, 3, dtype=pixels.dtype).index_add_(0, self.splat, self.weight[:, None] * pixels[self.pixel])


def surface_splats(seen: Look, cameras: Cameras, radius: float) -> Splats:
    """A flat Gaussian for every cell of the surface that the cameras see, and a round one for every direction in which they see
    none. radius: of the region of interest, world units."""
    met = seen.met
    spacing = pixel_spacing(seen.depth, cameras)
    side = CELL * float(spacing[met].median()) if met.any() else 1.0
    near, values, apart = joined(seen.points[met], torch.cat([seen.colours, normals(seen, cameras)], dim=-1)[met], side)
    away = torch.nn.functional.normalize(seen.points - cameras.positions[:, None, None], dim=-1)[~met]
    pixel = FAR * radius / float(cameras.focal.mean())
    behind, behind_colours, behind_apart = joined(
        cameras.positions.mean(dim=0) + FAR * radius * away, seen.colours[~met], CELL * pixel
    )
    points, colours = torch.cat([near, behind]), torch.cat([values[:, :3], behind_colours])
    scales = WIDTH * torch.cat([apart, behind_apart])[:, None].repeat(1, 3)
    scales[: len(near), 2] *= THICKNESS
    rotations = torch.cat([towards(values[:, 3:]), towards(behind.new_tensor([[0.0, 0.0, 1.0]]).expand(len(behind), 3))])
    return Splats(points, colours, torch.full_like(points[:, 0], OPACITY), scales, rotations)


def towards(directions: Tensor) -> Tensor:
    """Unit quaternions (P, 4) that turn the z axis into the line of directions (P, 3): (1 + d_z, -d_y, d_x, 0), d_z ≥ 0."""
    unit = torch.nn.functional.normalize(directions, dim=-1)
    unit = torch.where(unit[:, 2:] < 0, -unit, unit)
    x, y, z = unit.unbind(dim=-1)
    return torch.nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros_like(x)], dim=-1), dim=-1)


def fit_colours(splats: Splats, images: Tensor, cameras: Cameras) -> Splats:
    """The splats whose colours show images (N, 3, H, W) best, by conjugate gradients on the normal equations
    (Σ WᵀW + λ) c = Σ Wᵀ I + λ c_0, with the weights W of each view and λ = `KEPT`."""
    views = [splat_weights(splats, cameras[[view]]) for view in range(len(cameras))]
    count, start = len(splats.points), splats.colours.double()

    def times(values: Tensor) -> Tensor:
        return sum((view.spread(view.image(values), count) for view in views), KEPT * values)

    wanted = KEPT * start
    for view, image in zip(views, images, strict=True):
        wanted = wanted + view.spread(image.permute(1, 2, 0).reshape(-1, 3).double(), count)
    found, rest = start.clone(), wanted - times(start)
    direction, length = rest.clone(), rest.square().sum()
    for _ in range(ITERATIONS):
        if length <= 0:
            break
        turned = times(direction)
        step = length / (direction * turned).sum()
        found, rest = found + step * direction, rest - step * turned
        before, length = length, rest.square().sum()
        direction = rest + length / before * direction
    return replace(splats, colours=found.clamp(0, 1).to(splats.colours))


def render_splats(splats: Splats, cameras: Cameras) -> Tensor:
    """Images (N, 3, H, W) in [0, 1] on black."""
    views = [splat_weights(splats, cameras[[view]]).image(splats.colours.double()) for view in range(len(cameras))]
    return torch.stack(views).view(len(cameras), cameras.height, cameras.width, 3).permute(0, 3, 1, 2).clamp(0, 1).float()


def splat_weights(splats: Splats, camera: Cameras) -> Weights:
    """What each Gaussian adds to the pixels of one camera: α_i Π_{j before i} (1 - α_j), α = o exp(-½ dᵀ Σ'⁻¹ d), by depth,
    with Σ' = J W Σ Wᵀ Jᵀ + `LOW_PASS` (Zwicker et al. 2001); float64."""
    pixels, depth = camera.project(splats.points)
    pixels, depth = pixels[0].double(), depth[0].double()
    index = (depth > 1e-3).nonzero()[:, 0]
    inverse, reach = _projected(splats, camera, depth, index)
    offsets = torch.arange(-WINDOW, WINDOW + 1, dtype=torch.float64)
    square = torch.cartesian_prod(offsets, offsets)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for size in range(1, WINDOW + 1):
        part = (reach.ceil().clamp(1, WINDOW) == size).nonzero()[:, 0]
        steps = square[square.abs().amax(dim=1) <= size]
        for chunk in part.split(max(1, 2_000_000 // len(steps))):
            number = index[chunk]
            place = pixels[number].floor()[:, None] + steps
            away = place + 0.5 - pixels[number][:, None]
            power = torch.einsum("pki,pij,pkj->pk", away, inverse[chunk], away)
            alpha = (splats.opacity[number].double()[:, None] * (-0.5 * power).exp()).clamp_max(0.99)
            x, y = place.unbind(dim=-1)
            drawn = (alpha >= FAINT) & (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
            found.append(((y * camera.width + x).long()[drawn], number[:, None].expand(drawn.shape)[drawn], alpha[drawn]))
    pixel, splat, alpha = (torch.cat(parts) for parts in zip(*found, strict=True))
    rank = depth.argsort(stable=True).argsort(stable=True)
    order = (pixel * len(depth) + rank[splat]).argsort()
    pixel, splat, alpha = pixel[order], splat[order], alpha[order]
    passed = torch.log1p(-alpha)
    before = passed.cumsum(dim=0) - passed
    first = torch.searchsorted(pixel, pixel)
    return Weights(pixel, splat, alpha * (before - before[first]).exp(), camera.height, camera.width)


def _projected(splats: Splats, camera: Cameras, depth: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse (P, 2, 2) of the projected covariances of some Gaussians, and how far, pixels, they are not faint (P,)."""
    turn = camera.camera_to_world[0, :3, :3].double() * torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)  # OpenCV's axes
    local = (splats.points[index].double() - camera.positions[0].double()) @ turn
    z, focal = depth[index], camera.focal[0].double()
    zero = torch.zeros_like(z)
    rows = [torch.stack([focal[0] / z, zero, -focal[0] * local[:, 0] / z**2], dim=-1)]
    rows.append(torch.stack([zero, focal[1] / z, -focal[1] * local[:, 1] / z**2], dim=-1))
    axes = torch.stack(rows, dim=1) @ turn.T @ rotation_matrices(splats.rotations[index].double())
    shaped = axes * splats.scales[index].double()[:, None]
    covariance = shaped @ shaped.transpose(1, 2) + LOW_PASS * torch.eye(2, dtype=torch.float64)
    widest = torch.linalg.eigvalsh(covariance)[:, 1]
    visible = 2 * torch.log(splats.opacity[index].double() / FAINT).clamp_min(0)
    return torch.linalg.inv(covariance), (visible * widest).sqrt()


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """(P, 4) unit quaternions (w, x, y, z) to (P, 3, 3)."""
    w, x, y, z = quaternions.unbind(dim=-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
