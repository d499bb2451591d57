"""A whole puppet scene as a `Scene` with ground truth, and the command that writes it to disk:

    python -m qnerf.scenes.procedural.build --seed 3 --views 12 --out outputs/scenes/puppet_3

Nothing downstream reads the generator: everything reads the folder that is written here.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from qnerf.scenes.cameras import Cameras
from qnerf.scenes.procedural.figure import BONES, JOINTS, Primitive
from qnerf.scenes.procedural.raycast import FAR, ContactShadow, PinholeView, geometry, render
from qnerf.scenes.procedural.world import FOCUS, RADIUS, PuppetScene, draw_scene, orbit_camera
from qnerf.scenes.scene import Proxy, Scene, Truth
from qnerf.scenes.writer import write_scene

ELEVATION, DISTANCE = np.deg2rad(18.0), 3.4


def build_scene(seed: int, views: int = 12, size: int = 128, split: str = "heldout") -> Scene:
    """The scene of a seed seen by a ring of cameras, before and after the edit. Follows from its arguments alone."""
    puppet = draw_scene(seed, split)
    ring = [
        orbit_camera(2 * np.pi * index / views, ELEVATION + np.deg2rad(5) * (-1) ** index, DISTANCE, size) for index in range(views)
    ]
    source, edited = puppet.solids(), puppet.solids(edited=True)
    moved = [_moved(before, after) for before, after in zip(source, edited, strict=True)]
    depth_source, seen_source = _geometry(ring, source)
    depth_edited, seen_edited = _geometry(ring, edited)
    truth = Truth(
        edited_images=_images(puppet, ring, edited),
        depth_source=depth_source,
        depth_edited=depth_edited,
        silhouette_source=seen_source >= 0,
        silhouette_edited=seen_edited >= 0,
        moved_edited=torch.isin(seen_edited, torch.tensor([i for i, flag in enumerate(moved) if flag])),
        plates=_images(puppet, ring, []),
    )
    return Scene(
        name=f"puppet_{seed}",
        view_names=tuple(f"{index:03d}" for index in range(views)),
        images=_images(puppet, ring, source),
        cameras=_cameras(ring),
        source_prompt=puppet.caption,
        target_prompt=puppet.caption,
        focus=torch.tensor(FOCUS, dtype=torch.float32),
        radius=RADIUS,
        proxy=Proxy(
            "skeleton", JOINTS, BONES,
            torch.tensor(puppet.joints(), dtype=torch.float32),
            torch.tensor(puppet.joints(edited=True), dtype=torch.float32),
        ),
        truth=truth,
    )  # fmt: skip


def _images(puppet: PuppetScene, ring: list[PinholeView], solids: list[Primitive]) -> torch.Tensor:
    shadow = ContactShadow(solids, puppet.around.light)
    return torch.from_numpy(np.stack([render(view, solids, puppet.paints, puppet.around, shadow) for view in ring]))


def _geometry(ring: list[PinholeView], solids: list[Primitive]) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth (N, S, S), 0 where nothing is seen, and the solid seen (N, S, S), -1 for none."""
    depth, solid = zip(*(geometry(view, solids) for view in ring), strict=True)
    depth = np.stack(depth)
    return torch.from_numpy(np.where(depth < FAR, depth, 0)), torch.from_numpy(np.stack(solid).astype(np.int64))


def _moved(before: Primitive, after: Primitive) -> bool:
    return max(np.abs(before.start - after.start).max(), np.abs(before.end - after.end).max()) > 1e-4


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
    parser = argparse.ArgumentParser(description="Write a puppet scene with ground truth to a folder.")
    parser.add_argument("--seed", type=int, required=True, help="which held-out scene")
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    write_scene(arguments.out, build_scene(arguments.seed, arguments.views, arguments.size))
    print(f"Wrote {arguments.views} views to {arguments.out}")


if __name__ == "__main__":
    main()
