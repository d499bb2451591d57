"""How posing bears a proxy that is wrong: the posed render of procedural scenes, one error of the proxy after the other.

    python experiments/field/posing.py                                     # the demo and the scenes of seed 104
    python experiments/field/posing.py --scenes demo --only joints --seeds 1

The source field is trained once a scene, on the exact proxy's bounds; then the proxy is made wrong and posed.
Errors: *joints* is all source joints displaced by a share of the extent, each into a direction of its own, the target's going
along as their bones bring them (the edit stays the motion that was asked for); *states* is both states displaced, each on its own;
*bounds* is the proxy's solids grown by a share.
PSNR is that of the posed render before the truth, dB, on moved parts and on the object (before or after); trust is its mean where
parts are posed, and `rank` Spearman's correlation of trust and squared error there (below 0 where trust tells good from bad).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.config import RunSettings, parse
from qnerf.fields.posing.parts import parts_of
from qnerf.fields.posing.posed_views import pose_views
from qnerf.fields.posing.refine import carried
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.source_field import train_source_field
from qnerf.fields.space import Space
from qnerf.metrics.fidelity import psnr
from qnerf.run import CONFIGS
from qnerf.runs.loading import load_scene
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Box, Capsule

SCENES = "asset:puppet_a,procedural:figure_104,procedural:lamp_104,procedural:seat_104,procedural:toy_104"
SHARES = {"joints": (0.02, 0.05, 0.1), "states": (0.02, 0.05, 0.1), "bounds": (0.5, 1.0)}
HEADS = ("scene", "error", "moved", "object", "trust", "rank")


def directions(proxy: Proxy, generator: torch.Generator) -> Tensor:
    away = torch.randn(proxy.source.shape, generator=generator)
    return away / away.norm(dim=-1, keepdim=True)


def displaced(proxy: Proxy, share: float, seed: int, states: bool) -> Proxy:
    """Joints displaced by a share of the extent. states: each state on its own."""
    generator, size = torch.Generator().manual_seed(seed), share * extent(proxy)
    away = size * directions(proxy, generator)
    with_it = size * directions(proxy, generator) if states else carried(parts_of(proxy, PosingSettings(), away.device), away)
    return replace(proxy, source=proxy.source + away, target=proxy.target + with_it)


def inflated(proxy: Proxy, share: float) -> Proxy:
    """The bounds' radii and half sizes grown by a share of themselves."""

    def larger(solid: Capsule | Box) -> Capsule | Box:
        if isinstance(solid, Box):
            return replace(solid, half=solid.half * (1 + share))
        return replace(solid, radius=solid.radius * (1 + share))

    def grown(bounds: Bounds | None) -> Bounds | None:
        return None if bounds is None else replace(bounds, solids=tuple(larger(solid) for solid in bounds.solids))

    return replace(proxy, source_bounds=grown(proxy.source_bounds), target_bounds=grown(proxy.target_bounds))


def errors(proxy: Proxy, only: list[str], seeds: int) -> Iterator[tuple[str, list[Proxy]]]:
    """Names of errors, and the proxies that have them, one a seed."""
    yield "none", [proxy]
    for kind in only:
        for share in SHARES[kind]:
            if kind == "bounds":
                yield f"bounds +{100 * share:.0f} %", [inflated(proxy, share)]
            else:
                yield f"{kind} {100 * share:.0f} %", [displaced(proxy, share, seed, kind == "states") for seed in range(seeds)]


def rank(trust: Tensor, error: Tensor) -> float:
    """Spearman's correlation of (P,) and (P,)."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (trust, error)])
    return float(torch.corrcoef(ranks)[0, 1])


def measured(settings: RunSettings, only: list[str], seeds: int, count: int) -> Iterator[list[str]]:
    """Rows of the table of one scene. count: of views that are posed."""
    scene = load_scene(settings)
    assert scene.proxy
    assert scene.truth
    views = [round(k * len(scene.cameras) / count) for k in range(count)]
    space, truth, cameras = Space(scene.focus, scene.radius), scene.truth, scene.cameras[views]
    field = train_source_field(scene.images, scene.cameras, space, settings.source_field, settings.seed, scene.proxy)
    edited, moved = truth.edited_images[views], truth.moved_edited[views]
    touched = (truth.silhouette_source | truth.silhouette_edited)[views]
    for name, proxies in errors(scene.proxy, only, seeds):
        found = []
        for proxy in proxies:
            posed = pose_views(field, proxy, cameras, scene.images[views], settings.posing)
            there, error = posed.moved > 0.5, (posed.images - edited).square().mean(1)
            figures = [psnr(posed.images, edited, moved), psnr(posed.images, edited, touched)]
            found.append([*figures, float(posed.trust[there].mean()), rank(posed.trust[there], error[there])])
        yield [scene.name, name, *(f"{value:.2f}" for value in torch.tensor(found).mean(0).tolist())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default=SCENES, help="scene paths, with commas between")
    parser.add_argument("--only", default=",".join(SHARES), help="errors, with commas between: " + ", ".join(SHARES))
    parser.add_argument("--seeds", type=int, default=3, help="of the directions")
    parser.add_argument("--views", type=int, default=4, help="that are posed, evenly spread")
    parser.add_argument("overrides", nargs="*", help="settings, such as posing.refine=0")
    given = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        for path in given.scenes.split(","):
            settings = parse(compose("config", ["scene.views=12", f"scene.path={path}", *given.overrides]))
            for row in measured(settings, given.only.split(","), given.seeds, given.views):
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
