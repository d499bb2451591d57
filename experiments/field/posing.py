"""How posing bears a wrong proxy and a worse source field: posed renders of procedural scenes, one
fault after the other.

    python experiments/field/posing.py    # the demo and the scenes of seed 104
    python experiments/field/posing.py --scenes asset:puppet_a --only joints --seeds 1
    python experiments/field/posing.py --only views,quality,twist --into rows.md  # goes on with its rows
    python experiments/field/posing.py --scenes asset:puppet_a --only joints --write outputs/displaced

The source field is trained once a scene, on the exact proxy's bounds; then the proxy is made wrong
and posed. Of wrong *bounds* it is trained anew, since a skeleton is posed by its bones and the flesh.
Errors: *joints* is all source joints displaced by a share of the extent, each into a direction of
its own, the target's going along as their bones bring them (the edit stays the motion that was
asked for); *states* is both states displaced, each on its own; *bounds* is the proxy's solids grown
by a share; *twist* turns every moved bone about itself by so many degrees too much.
Fields: *views* is a field of a ring of so many views; *quality* one of twelve that is trained for a
share of the steps. They are rendered in four views between those of the training, too: *held out*,
dB of all pixels and of the object.
PSNR is that of the posed render before the truth, dB, on moved parts and on the object (before or
after); trust is its mean where parts are posed, and `rank` Spearman's correlation of trust and
squared error there (below 0 where trust tells good from bad).
With --write nothing is posed: each scene is copied with a wrong proxy of *joints*, *states* or
*bounds* in the place of its own. The truth stays, so that a run of the copy
(`scene.path=outputs/displaced/<name>`) measures a whole edit.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import qnerf
from qnerf.config import RunSettings
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.fields.posing import posed_field
from qnerf.fields.posing.centring import carried
from qnerf.fields.posing.motions import Affine, turn_points
from qnerf.fields.posing.parts import Part, parts_of
from qnerf.fields.posing.posed_views import pose_views
from qnerf.fields.posing.settings import PosingSettings
from qnerf.fields.source_field import SourceField, train_source_field
from qnerf.fields.space import Space
from qnerf.metrics.fidelity import psnr
from qnerf.runs.loading import load_scene
from qnerf.scenes.bounds import proxy_bounds
from qnerf.scenes.fingerprint import scene_folder
from qnerf.scenes.on_demand import WORLD, is_procedural, kind_and_seed
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.proxies import write_proxy
from qnerf.scenes.region import extent
from qnerf.scenes.scene import Bounds, Proxy, Scene, State
from qnerf.scenes.settings import width_height
from qnerf.scenes.solids import Box, Capsule

SCENES = "asset:puppet_a,procedural:figure_104,procedural:lamp_104,procedural:seat_104,procedural:toy_104"
SHARES = {"joints": (0.02, 0.05, 0.1), "states": (0.02, 0.05, 0.1), "bounds": (0.5, 1.0), "twist": (15, 45, 90)}
FIELDS = {"views": (6, 8, 12, 16, 32), "quality": (0.1, 0.25, 0.5, 1.0, 2.0)}
HEADS = ("scene", "error", "moved", "object", "trust", "rank", "held out", "held out, object")
WRITTEN = "joints", "states", "bounds"  # errors that a proxy's file can have
# the demo's seed; views of a field whose steps are changed; views that are held out
DEMO, RING, HELD_OUT = 5, 12, 4


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
    """The bounds' radii and half sizes, given or those round the bones, grown by a share of themselves."""

    def larger(solid: Capsule | Box) -> Capsule | Box:
        if isinstance(solid, Box):
            return replace(solid, half=solid.half * (1 + share))
        return replace(solid, radius=solid.radius * (1 + share))

    def grown(state: State) -> Bounds:
        bounds = proxy_bounds(proxy, state)
        return replace(bounds, solids=tuple(larger(solid) for solid in bounds.solids))

    return replace(proxy, source_bounds=grown("source"), target_bounds=grown("target"))


def twisted(part: Part, degrees: float) -> Part:
    """A moved bone, which the edit turns about itself by so many degrees too much."""
    motion = part.motion
    if not part.moved or not isinstance(motion, Affine) or len(part.joints) != 2:
        return part
    axis = (part.ends - part.starts)[0] @ motion.rotation
    turn = turn_points(torch.eye(3), axis / axis.norm(), torch.full((3,), degrees).deg2rad()).T
    return replace(part, motion=replace(motion, linear=motion.linear @ turn, rotation=motion.rotation @ turn))


@contextmanager
def wrong_twist(degrees: float) -> Iterator[None]:
    """While it lasts, posing turns every moved bone too far about itself: no joint can say so."""
    right = posed_field.parts_of
    posed_field.parts_of = lambda *given: [twisted(part, degrees) for part in right(*given)]
    try:
        yield
    finally:
        posed_field.parts_of = right


def errors(proxy: Proxy, only: list[str], seeds: int) -> Iterator[tuple[str, list[Proxy]]]:
    """Names of errors, and the proxies that have them, one a seed."""
    yield "none", [proxy]
    for kind in only:
        for share in SHARES.get(kind, ()):
            if kind == "bounds":
                yield f"bounds +{100 * share:.0f} %", [inflated(proxy, share)]
            elif kind == "twist":
                yield f"twist {share:.0f}°", [proxy]
            else:
                yield f"{kind} {100 * share:.0f} %", [displaced(proxy, share, seed, kind == "states") for seed in range(seeds)]


def rank(trust: Tensor, error: Tensor) -> float:
    """Spearman's correlation of (P,) and (P,)."""
    ranks = torch.stack([values.argsort().argsort().double() for values in (trust, error)])
    return float(torch.corrcoef(ranks)[0, 1])


def posed_figures(field: SourceField, scene: Scene, proxies: list[Proxy], settings: RunSettings, count: int) -> list[float]:
    """Moved, object, trust and rank: means over the proxies. count: of views that are posed."""
    assert scene.truth
    views = [round(k * len(scene.cameras) / count) for k in range(count)]
    truth, cameras = scene.truth, scene.cameras[views]
    edited, moved = truth.edited_images[views], truth.moved_edited[views]
    touched = (truth.silhouette_source | truth.silhouette_edited)[views]
    found = []
    for proxy in proxies:
        posed = pose_views(field, proxy, cameras, scene.images[views], settings.posing)
        there, error = posed.moved > 0.5, (posed.images - edited).square().mean(1)
        figures = [psnr(posed.images, edited, moved), psnr(posed.images, edited, touched)]
        found.append([*figures, float(posed.trust[there].mean()), rank(posed.trust[there], error[there])])
    return torch.tensor(found).mean(0).tolist()


def trained(scene: Scene, settings: RunSettings) -> SourceField:
    space = Space(scene.focus, scene.radius)
    return train_source_field(scene.images, scene.cameras, space, settings.source_field, settings.seed, scene.proxy)


def wrong_proxies(
    settings: RunSettings, only: list[str], seeds: int, count: int, done: set[tuple[str, str]]
) -> Iterator[list[str]]:
    """Rows of one scene, posed with proxies that are wrong, but for those that are done."""
    scene, field = load_scene(settings), None
    assert scene.proxy
    for name, proxies in errors(scene.proxy, only, seeds):
        if (label(settings), name) in done:
            continue
        if name.startswith("bounds "):
            used = trained(replace(scene, proxy=proxies[0]), settings)
        else:
            used = field = field or trained(scene, settings)
        with wrong_twist(float(name[6:-1]) if name.startswith("twist ") else 0.0):
            figures = posed_figures(used, scene, proxies, settings, count)
        yield [label(settings), name, *(f"{value:.2f}" for value in figures), "", ""]


def label(settings: RunSettings) -> str:
    """The scene's name in the table."""
    return settings.scene.path.split(":")[-1]


def write_scenes(settings: RunSettings, only: list[str], seeds: int, into: Path) -> Iterator[Path]:
    """Copies of a scene's folder whose proxies are wrong: `<scene>-joints-2-0` is displaced by 2 %
    in the first direction."""
    scene, home = load_scene(settings), scene_folder(settings.scene.path)
    assert scene.proxy
    found = {
        into / "-".join([label(settings), *re.findall("[a-z]+|[0-9]+", name), str(seed)]): proxy
        for name, proxies in errors(scene.proxy, only, seeds)
        for seed, proxy in enumerate(proxies)
    }
    if there := [str(folder) for folder in found if folder.exists()]:
        raise UserError(f"{there[0]} exists already, expected a new folder for the scene: remove it, or give another --write.")
    for folder, proxy in found.items():
        shutil.copytree(home, folder)
        write_proxy(folder / "proxy.json", proxy, units=scene.world)
        yield folder


def ring(path: str, views: int, size: int) -> Scene:
    """The scene of a path, or the demo's, seen by so many cameras."""
    kind, seed = kind_and_seed(path) if is_procedural(path) else ("figure", DEMO)
    return build_scene(seed, views, size, kind=kind, world=WORLD if is_procedural(path) else 1)


def other_fields(settings: RunSettings, only: list[str], count: int, done: set[tuple[str, str]]) -> Iterator[list[str]]:
    """Rows of one scene, posed with fields of other views or fewer steps, but for those that are done."""
    path, source_field = settings.scene.path, settings.source_field
    changes = [(kind, value) for kind in FIELDS if kind in only for value in FIELDS[kind]]
    for kind, value in changes:
        views, name = (value, f"{value} views") if kind == "views" else (RING, f"{value:g} of the steps")
        if (label(settings), name) in done:
            continue
        size, _ = width_height(settings.scene.size)  # procedural views are square
        scene = ring(path, int(views), size)
        steps = round(source_field.optimiser.iterations * (1 if kind == "views" else value))
        optimiser = source_field.optimiser.model_copy(update={"iterations": steps})
        changed = settings.model_copy(update={"source_field": source_field.model_copy(update={"optimiser": optimiser})})
        field, dense = trained(scene, changed), ring(path, 3 * len(scene.cameras), size)
        assert scene.proxy
        assert dense.truth
        between = [3 * round(k * len(scene.cameras) / HELD_OUT) + 1 for k in range(HELD_OUT)]
        pictures, _ = field.render(dense.cameras[between])
        held_out = [
            psnr(pictures, dense.images[between]),
            psnr(pictures, dense.images[between], dense.truth.silhouette_source[between]),
        ]
        figures = posed_figures(field, scene, [scene.proxy], settings, count)
        yield [label(settings), name, *(f"{value:.2f}" for value in [*figures, *held_out])]


def main() -> int:
    """0: done; 2: an error that the user can correct, in one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", default=SCENES, help="scene paths, with commas between")
    known = ", ".join([*SHARES, *FIELDS])
    parser.add_argument("--only", default=",".join(SHARES), help=f"with commas between: {known}; none: the right proxy alone")
    parser.add_argument("--seeds", type=int, default=3, help="of the directions")
    parser.add_argument("--views", type=int, default=4, help="that are posed, evenly spread")
    parser.add_argument("--into", type=Path, help="a file that rows are added to; those that it has are not measured again")
    parser.add_argument("--write", type=Path, help="a folder that copies of the scenes with wrong proxies are written into")
    parser.add_argument("overrides", nargs="*", help="settings, such as posing.refine=0")
    given = parser.parse_args()
    return told_in_a_sentence(lambda: study(given), "give another --into or --write")


def chosen(given: argparse.Namespace) -> list[str]:
    """The kinds of `--only`. Raises one UserError for all that is wrong with the arguments."""
    only = [word.strip() for word in given.only.split(",")]
    fitting = [*WRITTEN, "none"] if given.write else [*SHARES, *FIELDS, "none"]
    where = " with --write" if given.write else ""
    problems = [f"--only: got {word!r}{where}; expected some of {', '.join(fitting)}" for word in only if word not in fitting]
    problems += [
        f"--{name}: got {getattr(given, name)}; expected at least 1" for name in ("seeds", "views") if getattr(given, name) < 1
    ]
    if given.write and given.into:
        problems.append("--into: with --write nothing is measured; leave one of them out")
    if problems:
        raise UserError("\n".join(problems))
    return only


def study(given: argparse.Namespace) -> int:
    only, writes = chosen(given), given.write is not None
    kept = given.into.read_text().splitlines() if given.into and given.into.exists() else []
    cells = [[cell.strip() for cell in line.split("|")] for line in kept]
    done = {(row[1], row[2]) for row in cells if len(row) > 2}
    torch.set_num_threads(1)

    def say(line: str) -> None:
        print(line, flush=True)
        if given.into:
            with given.into.open("a") as file:
                file.write(f"{line}\n")

    runs = [settings_of(path, given.overrides) for path in given.scenes.split(",")]
    if not kept and not writes:
        say(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for settings in runs:
        if writes:
            for folder in write_scenes(settings, only, given.seeds, given.write):
                say(str(folder))
            continue
        for row in other_fields(settings, only, given.views, done):
            say(f"| {' | '.join(row)} |")
        if not set(only) <= set(FIELDS):
            for row in wrong_proxies(settings, only, given.seeds, given.views, done):
                say(f"| {' | '.join(row)} |")
    return 0


def settings_of(path: str, overrides: Sequence[str]) -> RunSettings:
    """A run's settings on a scene. Raises UserError where a setting is not valid or the scene is
    not there."""
    settings = qnerf.Settings.compose("scene.views=12", f"scene.path={path}", *overrides)
    scene_folder(settings.scene.path)
    return settings


if __name__ == "__main__":
    sys.exit(main())
