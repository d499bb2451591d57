"""A whole procedural scene as a `Scene` with ground truth, and the command that writes it to disk:

    python -m qnerf.scenes.procedural.build --seed 3 --views 12 --out outputs/scenes/puppet_3
    python -m qnerf.scenes.procedural.build --kind lamp --seed 3 --views 12 --out outputs/scenes/lamp_3

Nothing downstream reads the generator: everything reads the folder that is written here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from qnerf.errors import UserError
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.procedural.other_edits import OTHER_EDITS, draw_other_edit
from qnerf.scenes.procedural.raycast import PinholeView, geometry, render
from qnerf.scenes.procedural.samples import orbit_camera
from qnerf.scenes.procedural.shading import Paint
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.world import KINDS, RADIUS, WORLDS, WorldScene, draw_scene
from qnerf.scenes.scene import Scene, Truth
from qnerf.scenes.solids import FAR, Solid
from qnerf.scenes.writer import write_scene

ELEVATION = np.deg2rad(18.0)
NAMES = {"figure": "puppet"}  # of scenes, where they are not named after their kind


def build_scene(seed: int, views: int = 12, size: int = 128, split: str = "heldout", kind: str = "figure", world: int = 1) -> Scene:
    """The scene of a seed seen by a ring of cameras, before and after the edit. Follows from its
    arguments alone.

    kind: of the world, or one of `OTHER_EDITS`, of which each is a held-out scene of world 2.
    Raises UserError for a world that does not exist or has no such kind.
    """
    drawn = draw_other_edit(kind, seed) if kind in OTHER_EDITS else draw_scene(seed, split, kind, world)
    focus, ring = np.array(drawn.shape.FOCUS), ring_of(drawn, views, size)
    return Scene(
        name=f"{NAMES.get(kind, kind)}_{seed}",
        view_names=tuple(f"{index:03d}" for index in range(views)),
        images=_images(drawn, ring, drawn.solids(), drawn.paints),
        cameras=_cameras(ring),
        source_prompt=drawn.caption,
        target_prompt=drawn.edited_caption or drawn.caption,
        focus=torch.tensor(focus, dtype=torch.float32),
        radius=RADIUS,
        proxy=drawn.proxy(),
        truth=_truth(drawn, ring),
    )


def ring_of(drawn: WorldScene, views: int, size: int) -> list[PinholeView]:
    """The cameras of a scene: a ring round its focus, by turns a little higher and lower."""
    focus, distance = np.array(drawn.shape.FOCUS), drawn.distance or drawn.shape.DISTANCE
    return [
        orbit_camera(2 * np.pi * index / views, ELEVATION + np.deg2rad(5) * (-1) ** index, distance, size, focus=focus)
        for index in range(views)
    ]


def _truth(drawn: WorldScene, ring: list[PinholeView]) -> Truth:
    source, edited = drawn.solids(), drawn.solids(edited=True)
    own = len(source) - len(drawn.bystanders)
    paints = drawn.edited_paints or drawn.paints
    moved = [
        index
        for index, (before, after) in enumerate(zip(source, edited, strict=True))
        if _moved(before, after) or paints[before.part] is not drawn.paints[before.part]
    ]
    depth_source, seen_source = _geometry(ring, source)
    depth_edited, seen_edited = _geometry(ring, edited)
    return Truth(
        edited_images=_images(drawn, ring, edited, paints),
        depth_source=depth_source,
        depth_edited=depth_edited,
        silhouette_source=(seen_source >= 0) & (seen_source < own),
        silhouette_edited=(seen_edited >= 0) & (seen_edited < own),
        moved_edited=torch.isin(seen_edited, torch.tensor(moved)),
        plates=_images(drawn, ring, drawn.bystanders, paints),
    )


def _images(drawn: WorldScene, ring: list[PinholeView], solids: Sequence[Solid], paints: dict[str, Paint]) -> torch.Tensor:
    shadow = ContactShadow(solids, drawn.around.light)
    return torch.from_numpy(np.stack([render(view, solids, paints, drawn.around, shadow) for view in ring]))


def _geometry(ring: list[PinholeView], solids: Sequence[Solid]) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (N, S, S), 0 where nothing is seen, and the solid seen (N, S, S), -1 for none."""
    depth, solid = zip(*(geometry(view, solids) for view in ring), strict=True)
    depth = np.stack(depth)
    return torch.from_numpy(np.where(depth < FAR, depth, 0)), torch.from_numpy(np.stack(solid).astype(np.int64))


def _moved(before: Solid, after: Solid) -> bool:
    """Whether the edit moves a solid or changes its shape."""
    (points, radius), (others, other) = before.hull(), after.hull()
    return max(np.abs(points - others).max(), abs(radius - other)) > 1e-4


def _cameras(ring: list[PinholeView]) -> Cameras:
    count, size = len(ring), ring[0].size
    return Cameras(
        camera_to_world=torch.tensor(np.stack([view.camera_to_world for view in ring]), dtype=torch.float32),
        focal=torch.tensor([[view.focal, view.focal] for view in ring], dtype=torch.float32),
        centre=torch.full((count, 2), size / 2),
        width=size,
        height=size,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a held-out procedural scene with ground truth to a folder.")
    parser.add_argument("--kind", choices=KINDS, default="figure")
    parser.add_argument("--world", type=int, choices=WORLDS, help="version; default: 1 for the figure, 2 for other kinds")
    parser.add_argument("--seed", type=int, required=True, help="number of the scene; training uses none of these")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    kind, world = arguments.kind, arguments.world or (1 if arguments.kind in WORLDS[1] else 2)
    try:
        write_scene(arguments.out, build_scene(arguments.seed, arguments.views, arguments.size, kind=kind, world=world), world)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"Wrote {arguments.views} views to {arguments.out}")


if __name__ == "__main__":
    main()
