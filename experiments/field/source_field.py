"""How good the field of the source views is: PSNR, opacity, depth and seconds, on views between those that it was trained on.

    python experiments/field/source_field.py                                  # the demo's figure at 8, 16 and 32 views: the table
    python experiments/field/source_field.py --scenes lamp_104 --views 12 source_field.grid.finest_resolution=128

A scene is a ring of views, and eight of the ring three times as dense that lie between them are held out; so scenes are procedural,
and `demo` is the figure of the demo in the same places. The object is the true silhouette and two pixels round it. "Alone" is what
the proxy's bounds contain, before the true plate; opacity and depth are of that, inside the silhouette.
"""

from __future__ import annotations

import argparse
import time

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor
from torch.nn.functional import max_pool2d

from qnerf.config import parse
from qnerf.fields.bounded import distance_to
from qnerf.fields.rendering import composite, composite_weights, expected_depth, samples_between
from qnerf.fields.source_field import SourceField, train_source_field
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid
from qnerf.metrics.fidelity import psnr
from qnerf.run import CONFIGS
from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Proxy, Scene

HEADS = ("train", "train, object", "held out", "held out, object", "alone", "opacity", "depth error", "seconds")


def drawn(name: str, views: int) -> Scene:
    """The scene `<kind>_<seed>` of world 2, or the demo's."""
    kind, _, seed = name.partition("_")
    return build_scene(5, views) if name == "demo" else build_scene(int(seed), views, kind=kind, world=2)


def between(views: int) -> list[int]:
    """Eight of the ring of 3 x views that are not of the ring of `views`, evenly spread."""
    others = [view for view in range(3 * views) if view % 3]
    return others[:: len(others) // 8][:8]


def grown(mask: Tensor, by: int) -> Tensor:
    """A mask (N, H, W) grown by so many pixels, or shrunk by -by."""
    inside = mask.float()[:, None]
    return (max_pool2d(inside, 2 * by + 1, 1, by) if by > 0 else -max_pool2d(-inside, 1 - 2 * by, 1, -by))[:, 0] > 0


@torch.no_grad()
def alone(field: SourceField, proxy: Proxy, scene: Scene, views: list[int], where: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Colours (P, 3), opacity (P,) and depth (P,) of the pixels `where` (V, H, W), of the density within the proxy's bounds."""
    cameras, solids = scene.cameras[views], proxy_bounds(proxy, "source").solids
    grid, found = TokenGrid(len(cameras), cameras.height, cameras.width), []
    for pixels in where.flatten().nonzero()[:, 0].split(4096):
        rays = grid.rays(cameras, pixels, torch.full((len(pixels), 2), 0.5))
        samples = samples_between(field.edges(rays, 96), rays, field.space)
        middle = (samples.starts + samples.ends) / 2
        points = (rays.origins[:, None] + middle[..., None] * rays.directions[:, None]).view(-1, 3)
        density, colour = field.radiance(points, ground=False)
        weights = composite_weights((density * (distance_to(points, solids) < 0)).view(middle.shape), samples)
        found.append((composite(weights, colour.view(*middle.shape, 3)), weights.sum(-1), expected_depth(weights, samples)))
    colours, opacity, depth = (torch.cat(part) for part in zip(*found, strict=True))
    return colours, opacity, depth


def decibels(found: Tensor, truth: Tensor) -> float:
    return -10 * (found - truth).square().mean().log10().item()


def measured(name: str, count: int, overrides: list[str]) -> list[str]:
    """One row of the table."""
    settings = parse(compose("config", overrides)).source_field
    scene, dense, views = drawn(name, count), drawn(name, 3 * count), between(count)
    assert scene.proxy
    assert scene.truth
    assert dense.truth
    assert dense.truth.plates is not None
    start = time.process_time()
    field = train_source_field(scene.images, scene.cameras, Space(scene.focus, scene.radius), settings, 0, scene.proxy)
    seconds = time.process_time() - start
    (train, _), (held_out, _) = field.render(scene.cameras), field.render(dense.cameras[views])
    truth, plates = dense.images[views], dense.truth.plates[views].permute(0, 2, 3, 1)
    near, inside = grown(dense.truth.silhouette_source[views], 2), grown(dense.truth.silhouette_source[views], -1)
    ours = grown(scene.truth.silhouette_source, 2)
    colours, opacity, depth = alone(field, scene.proxy, dense, views, near)
    before_plate = colours + (1 - opacity)[:, None] * plates[near]
    deep = (depth - dense.truth.depth_source[views][near])[inside[near]].abs().median()

    def pixels(images: Tensor, mask: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1)[mask]

    decibel = [
        psnr(train, scene.images), decibels(pixels(train, ours), pixels(scene.images, ours)),
        psnr(held_out, truth), decibels(pixels(held_out, near), pixels(truth, near)),
        decibels(before_plate, pixels(truth, near)),
    ]  # fmt: skip
    others = [f"{opacity[inside[near]].mean():.3f}", f"{deep:.3f}", f"{seconds:.0f}"]
    return [name, str(count), *(f"{value:.1f}" for value in decibel), *others]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default="demo", help="demo, or <kind>_<seed>, with commas between")
    parser.add_argument("--views", default="8,16,32", help="of the training, with commas between")
    parser.add_argument("overrides", nargs="*", help="settings, such as source_field.optimiser.iterations=300")
    given = parser.parse_args()
    torch.set_num_threads(1)  # so that the seconds are those of one thread
    print(" | ".join(["scene", "views", *HEADS]))
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for name in given.scenes.split(","):
            for count in given.views.split(","):
                print(" | ".join(measured(name, int(count), given.overrides)), flush=True)


if __name__ == "__main__":
    main()
