"""What `qnerf export --to ply|splat` leaves: a capture of the edited views with depth, points or Gaussians, a film, a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from qnerf.common.files import write_image, write_json, write_text
from qnerf.common.ply import write_ply
from qnerf.fields.splat_training import STEPS, missing, trained_on_gpu
from qnerf.fields.splats import Splats, fill_sky, fit, render_splats, surface_splats
from qnerf.fields.surface import Cloud
from qnerf.reports.images import to_pixels
from qnerf.reports.surfaces.model import Models, Say, decibels
from qnerf.reports.surfaces.orbit import write_film
from qnerf.reports.surfaces.viewer import viewer_page
from qnerf.scenes.images import write_depth
from qnerf.scenes.world import World
from qnerf.scenes.writer import region_document, transforms_document

SH_C0 = 0.28209479177387814  # the spherical harmonic of degree 0: colour = 0.5 + SH_C0 · f_dc
HIGHER = 45  # coefficients of degrees 1 to 3, which 3DGS's own reader counts: 0 here, since colours do not depend on the view
MOST_STEPS = 60_000  # 16-bit steps that the farthest depth takes


def write_model(folder: Path, models: Models, to: str, frames: int, say: Say) -> list[str]:
    """Writes a new folder's files; their names. to: "ply" or "splat". frames: of the film. Positions are in the world's own axes
    and units."""
    clouds = {"points.ply": models.after.cloud, **({} if models.before is None else {"points_before.ply": models.before.cloud})}
    for name, cloud in clouds.items():
        write_cloud(folder / name, cloud, models.scene.world)
    write_capture(folder, models)
    names = [*clouds, "transforms.json", "images", "depth"]
    if to == "splat":
        splats = make_splats(models, say)
        write_splats(folder / "splat.ply", splats, models.scene.world, say)
        names.append("splat.ply")
    say(f"The film, {frames} frames …")
    names += ["orbit.mp4"] if write_film(folder / "orbit.mp4", models, frames) else []
    write_text(folder / "viewer.html", viewer_page(models, f"{models.scene.name}: the scene as points"))
    return [*names, "viewer.html"]


def write_cloud(path: Path, cloud: Cloud, world: World) -> None:
    """Coloured points. Positions are doubles where the world lies so far off that floats would round them."""
    points = world.outward(cloud.points.cpu().numpy())
    places = {axis: points[:, i].astype("f4" if world.same else "f8") for i, axis in enumerate("xyz")}
    colours = np.rint(cloud.colours.cpu().numpy().clip(0, 1) * 255).astype(np.uint8)
    write_ply(path, {**places, **{name: colours[:, i] for i, name in enumerate(("red", "green", "blue"))}})


def write_capture(folder: Path, models: Models) -> None:
    """transforms.json, images/ and depth/: 16-bit distances along the optical axis, where the field meets a surface."""
    scene, seen = models.scene, models.after.seen
    forward = -scene.cameras.camera_to_world[:, None, None, :3, 2]
    rays = scene.cameras.token_rays(scene.cameras.height, scene.cameras.width).directions
    z_depth = (seen.depth * (rays * forward).sum(dim=-1)).double().cpu() * scene.world.scale
    met = seen.met.cpu()
    unit = float(z_depth[met].max()) / MOST_STEPS if met.any() else 1.0
    for name in ("images", "depth"):
        (folder / name).mkdir(parents=True)
    for view, name in enumerate(scene.view_names):
        write_image(folder / f"images/{name}.png", to_pixels(models.after.images[view]))
        write_depth(folder / f"depth/{name}.png", torch.where(met[view], z_depth[view], 0.0).numpy(), unit)
    document: dict[str, Any] = transforms_document(scene.cameras, [f"images/{name}.png" for name in scene.view_names], scene.world)
    for name, frame in zip(scene.view_names, document["frames"], strict=True):
        frame["depth_file_path"] = f"depth/{name}.png"
    region = {"depth_unit_scale_factor": unit, "ply_file_path": "points.ply", **region_document(scene)}
    write_json(folder / "transforms.json", {**document, **region})


def make_splats(models: Models, say: Say) -> Splats:
    """Gaussians on the surface after the edit, their colours and opacities fitted to the edited
    views; where a GPU and gsplat are there, trained on in all that they are."""
    say("The Gaussians …")
    scene, model = models.scene, models.after
    cameras = scene.cameras.to("cpu")
    splats = fit(surface_splats(model.seen, cameras, scene.radius), model.images.cpu(), cameras)
    if (reason := missing()) is None:
        fitted = decibels(render_splats(splats, cameras), model.images.cpu())
        say(f"  fitted: {fitted:.2f} dB on the edited views; trained by gsplat, {STEPS} steps …")
        splats = trained_on_gpu(splats, model.images, cameras, scene.radius)
    else:
        say(f"  Colours and opacities alone are fitted, since {reason}.")
    splats = fill_sky(splats, cameras, scene.radius, model.field.surroundings)
    psnr = decibels(render_splats(splats, cameras), model.images.cpu())
    say(f"  {len(splats.points)} Gaussians: {psnr:.2f} dB on the edited views, where the radiance field has {model.psnr:.2f}.")
    return splats


def write_splats(path: Path, splats: Splats, world: World, say: Say) -> None:
    """The layout of 3DGS: logits of opacity, logarithms of scales, 32-bit floats. Where these would round positions by more than a
    tenth of a Gaussian, positions are about the world's offset, which the header and a message say."""
    points = world.outward(splats.points.numpy())
    comments = []
    rounding = np.abs(points - points.astype("f4").astype("f8")).max()
    if rounding > 0.1 * float(splats.scales.median()) * world.scale:
        points = points - np.array(world.offset)
        place = ", ".join(f"{value:.17g}" for value in world.offset)
        comments.append(f"positions are about {place}")
        say(f"  {path.name}: positions are about ({place}), since the layout's 32-bit floats do not reach so far.")
    count = len(points)
    columns: dict[str, np.ndarray] = {axis: points[:, i] for i, axis in enumerate("xyz")}
    columns |= dict.fromkeys(("nx", "ny", "nz"), np.zeros(count))
    columns |= {f"f_dc_{i}": (splats.colours[:, i].numpy() - 0.5) / SH_C0 for i in range(3)}
    columns |= {f"f_rest_{i}": np.zeros(count) for i in range(HIGHER)}
    columns["opacity"] = torch.logit(splats.opacity).numpy()
    columns |= {f"scale_{i}": np.log(splats.scales[:, i].numpy().astype("f8") * world.scale) for i in range(3)}
    columns |= {f"rot_{i}": splats.rotations[:, i].numpy() for i in range(4)}
    write_ply(path, {name: values.astype("f4") for name, values in columns.items()}, comments)
