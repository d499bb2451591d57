"""How alike the trajectories of an image and of the transformed image are (study J20).

Each held-out image of `study.py` and the image after a change of colour, a rotation, a scaling or a
translation are inverted in 30 steps under the same caption; the figure is the cosine between the
two latents at a state, which counts noise and image alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.inversions.study import SEED, STEPS, WORLD, inversion_of
from experiments.results import adding, first_images, lacking, means, read
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import Views, heldout_views
from qnerf.reports.images import to_pixels
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.settings import width_height

Transform = Callable[[Tensor], Tensor]


def tinted(*gains: float) -> Transform:
    """Channels times their gains."""
    return lambda image: (image * torch.tensor(gains)[:, None, None]).clamp(0, 1)


def moved(turn: float = 0.0, scale: float = 1.0, across: float = 0.0) -> Transform:
    """Turned about its middle by degrees, scaled, and moved to the right by a share of its width;
    its border is repeated."""
    cos, sin = (float(f(np.deg2rad(turn))) / scale for f in (np.cos, np.sin))
    matrix = torch.tensor([[cos, -sin, -2 * across], [sin, cos, 0.0]])[None]

    def transform(image: Tensor) -> Tensor:
        grid = F.affine_grid(matrix, [1, *image.shape[-3:]], align_corners=False)
        return F.grid_sample(image, grid, padding_mode="border", align_corners=False)

    return transform


ROWS: Mapping[str, Transform] = {
    "a little warmer": tinted(1.1, 1.0, 0.9),
    "much warmer": tinted(1.2, 1.0, 0.7),
    "darker": tinted(0.8, 0.8, 0.8),
    "turned by 5 degrees": moved(turn=5),
    "turned by 20 degrees": moved(turn=20),
    "1.1 times as large": moved(scale=1.1),
    "1.5 times as large": moved(scale=1.5),
    "moved by an eighth": moved(across=1 / 8),
}
AT = {"noisiest": 0.0, "quarter": 0.25, "middle": 0.5, "last quarter": 0.75, "clean": 1.0}
"""Shares of the steps after which states are compared."""
RESULTS: str = "transformed.csv"
COLUMNS = ("row", "image", *AT)


def cosines(first: Tensor, second: Tensor) -> dict[str, float]:
    """Of two trajectories (T + 1, 1, 4, h, w), at `AT`."""
    each = F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)
    return {name: float(each[round(share * (len(each) - 1))]) for name, share in AT.items()}


def trajectory(backbone: DiffusionBackbone, image: Tensor, caption: str) -> Tensor:
    """(T + 1, 1, 4, h, w) of an image (1, 3, H, W)."""
    text = backbone.embed([caption, ""])
    steps, inversion = backbone.process.steps(STEPS), inversion_of("ddim").build()
    return SourceBranch(backbone, steps, inversion, Conditioning.of(text[:1]), text[1:]).invert(backbone.encode(image)).states


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every image that the folder lacks, image by image."""
    path = folder / RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    todo = lacking(path, filter(wanted, ROWS), range(first, images))
    if not todo:
        return
    backbone, views = RunSettings.compose().backbone.build(torch.device("cpu")), _views(images)
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            image, caption = views.images[number : number + 1], views.captions[number]
            original = trajectory(backbone, image, caption)
            for name in left:
                found = cosines(original, trajectory(backbone, ROWS[name](image), caption))
                add({"row": name, "image": number, **found})


def table(path: Path) -> str:
    """Mean cosines of each row, as Markdown."""
    return means(read(path), ROWS, AT, "transform")


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """The images that were inverted, with the mean cosine of the noisiest states below."""
    found = read(folder / RESULTS)
    numbers = first_images(found, most)
    images = _views(max(numbers, default=0) + 1).images[numbers]
    columns = [Column("image", [to_pixels(image) for image in images])]
    for name in rows:
        some = [float(each["noisiest"]) for each in found if each["row"] == name]
        pictures = [to_pixels(ROWS[name](image[None])[0]) for image in images]
        columns.append(Column(name, pictures, [f"cosine {mean(some):.2f}"] if some else []))
    return contact_sheet(columns, [str(number) for number in numbers], "Transformed images", "", most)


def _views(images: int) -> Views:
    size = width_height(RunSettings.compose().scene.size)
    return heldout_views(SEED, 0, images, size[0], WORLD, ("joints",))
