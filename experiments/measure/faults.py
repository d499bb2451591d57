"""Which figure sees which fault: the true edited views of a scene, and the same with faults, measured as `qnerf measure` does.

    python -m qnerf.scenes.procedural.build --kind lamp --seed 1 --views 24 --out outputs/scenes/lamp_1_24
    python experiments/measure/faults.py outputs/scenes/lamp_1_24

Prints a table in Markdown. Other scenes are those of the same kind with other colours and shapes: every view is of another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.fields.space import Space
from qnerf.measure_views.figures import record_of, settings
from qnerf.measure_views.reading import read_folders
from qnerf.metrics.evaluate import evaluate_group
from qnerf.metrics.radiance import radiance_figures
from qnerf.scenes.procedural.raycast import PinholeView, render
from qnerf.scenes.procedural.shadow import ContactShadow
from qnerf.scenes.procedural.world import draw_scene
from qnerf.scenes.scene import Scene

COLUMNS = (
    "psnr_truth", "warp_error_object", "tsed", "epipolar_inliers", "epipolar_error", "epipolar_matches",
    "heldout_psnr", "heldout_ssim", "depth_agreement",
)  # fmt: skip
SEED = 0


def jittered(images: Tensor, pixels: int) -> Tensor:
    """Every view shifted by so many pixels in one of eight directions, drawn at random."""
    directions = torch.tensor([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])
    drawn = directions[torch.randint(8, (len(images),), generator=torch.Generator().manual_seed(SEED))]
    return torch.stack([image.roll((pixels * step).tolist(), (1, 2)) for image, step in zip(images, drawn, strict=True)])


def blurred(images: Tensor, sigma: float) -> Tensor:
    views = [cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (0, 0), sigma) for image in images]
    return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).contiguous()


def noisy(images: Tensor) -> Tensor:
    return torch.rand(images.shape, generator=torch.Generator().manual_seed(SEED))


def of_other_scenes(scene: Scene, kind: str) -> Tensor:
    """Each view of another scene of the kind, seen by the same camera."""
    views = []
    for index, pose in enumerate(scene.cameras.camera_to_world.double().numpy()):
        drawn = draw_scene(100 + index, "heldout", kind, 2)
        solids = drawn.solids(edited=True)
        camera = PinholeView(pose, float(scene.cameras.focal[index, 0]), scene.cameras.width)
        views.append(render(camera, solids, drawn.paints, drawn.around, ContactShadow(solids, drawn.around.light)))
    return torch.from_numpy(np.stack(views)).float()


def figures(scene: Scene, images: Tensor) -> dict[str, float]:
    """All columns, of views (N, 3, H, W) in the place of the scene's."""
    chosen, found = settings(), dict[str, float]()
    edited = replace(scene, images=images)
    for group in ("fidelity", "consistency", "epipolar"):
        found |= evaluate_group(group, images, edited, chosen)
    metrics, space = chosen.metrics, Space(scene.focus, scene.radius)
    field = radiance_figures(
        images, scene.cameras, space, metrics.heldout_every, chosen.rgb_field, chosen.seed, metrics.depth_tolerance
    )
    return found | field


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown, a row a fault."""
    lines = [f"| views | {' | '.join(record_of(name).label for name in COLUMNS)} |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    for name, found in rows.items():
        cells = [f"{found[column]:.{record_of(column).digits}f}" if column in found else "–" for column in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scene", type=Path, help="a procedural scene with its truth, as procedural.build writes it")
    parser.add_argument("--kind", default="lamp", help="of the scene: the others are of the same")
    options = parser.parse_args(arguments)
    truth = options.scene / "truth"
    scene = read_folders(truth / "edited", str(options.scene), truth).edited
    true = scene.images
    faults: dict[str, Callable[[], Tensor]] = {
        "true": lambda: true,
        "shifted by 1 px": lambda: jittered(true, 1),
        "shifted by 2 px": lambda: jittered(true, 2),
        "blurred, σ 2 px": lambda: blurred(true, 2),
        "noise": lambda: noisy(true),
        "each of another scene": lambda: of_other_scenes(scene, options.kind),
    }
    print(table({name: figures(scene, made()) for name, made in faults.items()}))


if __name__ == "__main__":
    main()
