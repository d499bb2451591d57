"""Gaussians trained in all that they are, from those on a radiance field's surface, by gsplat's
rasteriser on a GPU.

Adam on the mean squared error of one view a step, at the rates of Kerbl et al. ("3D Gaussian
splatting", SIGGRAPH 2023). No Gaussian is added or removed: they lie on the surface from the start,
as dense as the views' pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.fields.splats import FAINT, FAR, LOW_PASS, Splats, drawn
from qnerf.scenes.cameras import Cameras

STEPS = 3000
# Adam's rates, as published. Positions: times the region's radius, falling to a hundredth. Scales: of logarithms.
POSITION, SCALE, TURN, OPACITY, COLOUR = 1.6e-4, 5e-3, 1e-3, 5e-2, 2.5e-3

Draw = Callable[[Splats, Cameras], Tensor]
"""Splats and one camera to a picture (3, H, W) on black, with gradients."""


def missing() -> str | None:
    """Why Gaussians are not trained here, or None."""
    if not torch.cuda.is_available():
        return "there is no CUDA GPU"
    return None if importlib.util.find_spec("gsplat") else 'gsplat is not installed: pip install "qnerf[gsplat]"'


def train(splats: Splats, images: Tensor, cameras: Cameras, radius: float, draw: Draw, steps: int = STEPS, seed: int = 0) -> Splats:
    """The splats that show images (N, 3, H, W) best after so many steps. radius: of the region of
    interest, world units.

    What is as far off as the sky keeps its place and its size. All tensors, the cameras' too, are
    on one device.
    """
    near = ((splats.points - cameras.positions.mean(dim=0)).norm(dim=-1) < FAR * radius / 2)[:, None]
    start = splats.points.clone()
    points, sizes, turns = start.clone(), splats.scales.log(), splats.rotations.clone()
    logits, colours = torch.logit(splats.opacity.clamp(FAINT, 0.99)), splats.colours.clone()
    rates = ((points, POSITION * radius), (sizes, SCALE), (turns, TURN), (logits, OPACITY), (colours, COLOUR))
    groups = [{"params": [values.requires_grad_()], "lr": rate} for values, rate in rates]
    optimiser = torch.optim.Adam(groups, eps=1e-15)
    generator = torch.Generator().manual_seed(seed)
    order: list[int] = []

    def now() -> Splats:
        return Splats(
            points=torch.where(near, points, start),
            colours=colours,
            opacity=torch.sigmoid(logits),
            scales=torch.where(near, sizes.exp(), splats.scales),
            rotations=F.normalize(turns, dim=-1),
        )

    for step in range(steps):
        order = order or torch.randperm(len(cameras), generator=generator).tolist()
        view = order.pop()
        optimiser.param_groups[0]["lr"] = POSITION * radius * 0.01 ** (step / steps)
        optimiser.zero_grad()
        (draw(now(), cameras[[view]]) - images[view]).square().mean().backward()
        optimiser.step()
    found = now()
    return Splats(
        points=found.points.detach(),
        colours=found.colours.detach().clamp(0, 1),
        opacity=found.opacity.detach().clamp(FAINT, 0.99),
        scales=found.scales.detach(),
        rotations=found.rotations.detach(),
    )


def plainly(splats: Splats, camera: Cameras) -> Tensor:
    """By the plain renderer of `qnerf.fields.splats`, on a CPU: slow, and what gsplat's is held against."""
    return drawn(splats, camera).image(splats.opacity, splats.colours).to(splats.colours)


def by_gsplat(splats: Splats, camera: Cameras) -> Tensor:
    """By gsplat's `rasterization`."""
    from gsplat import rasterization  # pyright: ignore[reportMissingImports]

    views, lenses = as_gsplat_has(camera)
    colours, _, _ = rasterization(
        means=splats.points,
        quats=splats.rotations,
        scales=splats.scales,
        opacities=splats.opacity,
        colors=splats.colours,
        viewmats=views,
        Ks=lenses,
        width=camera.width,
        height=camera.height,
        eps2d=LOW_PASS,
        packed=False,
    )
    return colours[0].permute(2, 0, 1)


def as_gsplat_has(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """World to camera (N, 4, 4) with OpenCV's axes, and intrinsics (N, 3, 3)."""
    poses = cameras.camera_to_world.clone()
    poses[:, :3, 1:3] *= -1
    lenses = torch.zeros(len(cameras), 3, 3).to(poses)
    lenses[:, 0, 0], lenses[:, 1, 1] = cameras.focal.unbind(dim=-1)
    lenses[:, :2, 2], lenses[:, 2, 2] = cameras.centre, 1
    return torch.linalg.inv(poses), lenses


def trained_on_gpu(splats: Splats, images: Tensor, cameras: Cameras, radius: float) -> Splats:
    """`train` by gsplat on the GPU; the splats come from the host's memory and go back to it."""
    gpu = torch.device("cuda")
    there = {name: getattr(splats, name).to(gpu) for name in ("points", "colours", "opacity", "scales", "rotations")}
    found = train(Splats(**there), images.to(gpu), cameras.to(gpu), radius, by_gsplat)
    return replace(splats, **{name: getattr(found, name).cpu() for name in there})
