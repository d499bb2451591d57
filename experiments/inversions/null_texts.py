"""The optimised null embeddings of null-text inversion: how far they drift, and whether other views
can use them (J17, J18, J19).

Five neighbouring views of a held-out scene (15 degrees apart) under its caption, without a control;
each is inverted at γ = 1 and reconstructed at γ = 7.5 in 10 steps, of at most 10 inner steps each,
with the null embeddings of a row: not optimised; the view's own; those of the middle view, carried
over; or one for all five views, optimised together.

psnr: of the reconstruction, to the autoencoder's own round trip. drift_…: how far the embedding of
a step is from that of the empty prompt, as a share of the latter's norm: after a quarter, after
half and at the end of the steps. `--images` counts scenes; in the table and in the file an image is
a view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import Tensor

from experiments.inversions.study import STRONG, WORLD
from experiments.results import adding, first_images, lacking, means, read
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.denoising.ddim import Trajectory, invert
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import ring_views
from qnerf.inversions.null_text import NullTextInversionSettings
from qnerf.metrics.fidelity import psnr
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.procedural.world import KINDS
from qnerf.scenes.settings import width_height

FIRST_SEED, VIEWS, APART, STEPS, INNER_STEPS = 42_000, 5, 15.0, 10, 10
NOT, OWN, CARRIED, SHARED = "not optimised", "own", "of the middle view", "one for all views"
# optimised: for all views together
ROWS: Mapping[str, bool | None] = {NOT: None, OWN: False, CARRIED: False, SHARED: True}
AT = {"drift_quarter": 0.25, "drift_half": 0.5, "drift_last": 1.0}
FIGURES = ("psnr", *AT)
RESULTS: str = "null_texts.csv"
COLUMNS: tuple[str, ...] = ("row", "image", *FIGURES)


class Scene:
    """Views (V, 3, H, W) under a caption each. pivot: their states at γ = 1, from which all rows
    start, since no null embedding has a part in it."""

    def __init__(self, backbone: DiffusionBackbone, images: Tensor, captions: Sequence[str]) -> None:
        self.backbone, self.clean = backbone, backbone.encode(images)
        self.text, self.empty = backbone.embed([*captions]), backbone.embed([""] * len(captions))
        self.round_trip = backbone.decode(self.clean)
        self._optimised: dict[bool, Tensor] = {}
        branch = self.branch()
        with torch.no_grad():
            self.pivot = invert(branch.noise, self.clean, branch.steps)

    def branch(self, joint: bool = False) -> SourceBranch:
        settings = NullTextInversionSettings(name="null_text", guidance_scale=STRONG, inner_steps=INNER_STEPS, joint=joint)
        steps = self.backbone.process.steps(STEPS)
        return SourceBranch(self.backbone, steps, settings.build(), Conditioning.of(self.text), self.empty)

    def null_texts(self, row: str) -> Tensor:
        """(T, V, L, C), optimised when they are first asked for."""
        joint = ROWS[row]
        if joint is None:
            return self.empty.expand(STEPS, -1, -1, -1)
        if joint not in self._optimised:
            null_text = self.branch(joint).invert(self.clean).null_text
            assert null_text is not None
            self._optimised[joint] = null_text
        found = self._optimised[joint]
        middle = found.shape[1] // 2
        return found[:, middle : middle + 1].expand_as(found) if row == CARRIED else found

    def measure(self, row: str) -> tuple[list[dict[str, float]], Tensor]:
        """The figures of each view, and the reconstructions (V, 3, H, W)."""
        null = self.null_texts(row)
        rebuilt = self.backbone.decode(self.branch().reconstruct(Trajectory(self.pivot, null), STRONG))
        drift = (null - self.empty).flatten(2).norm(dim=2) / self.empty.flatten(1).norm(dim=1)
        found = []
        for view, (image, trip) in enumerate(zip(rebuilt, self.round_trip, strict=True)):
            at = {name: float(drift[round(share * STEPS) - 1, view]) for name, share in AT.items()}
            found.append({"psnr": psnr(image[None], trip[None]), **at})
        return found, rebuilt


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """Every row that the folder lacks, scene by scene; an image is a scene here."""
    path, settings = folder / RESULTS, RunSettings.compose()
    # by the number of a scene's first view
    todo = lacking(path, filter(wanted, ROWS), range(0, VIEWS * images, VIEWS))
    if not todo:
        return
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    backbone, size = settings.backbone.build(torch.device("cpu")), width_height(settings.scene.size)[0]
    with adding(path, COLUMNS) as add:
        for number, left in ((first // VIEWS, left) for first, left in todo.items()):
            views = ring_views(FIRST_SEED + number, size, WORLD, ("joints",), KINDS[number % len(KINDS)], VIEWS, APART)
            scene = Scene(backbone, views.images, views.captions)
            _draw(folder, "autoencoder", number, scene.round_trip)
            for row in left:
                figures, rebuilt = scene.measure(row)
                for view, each in enumerate(figures):
                    add({"row": row, "image": VIEWS * number + view, **each})
                _draw(folder, row, number, rebuilt)


def _draw(folder: Path, row: str, number: int, images: Tensor) -> None:
    for view, image in enumerate(images):
        write_image(picture(folder, row, VIEWS * number + view), image.numpy())


def picture(folder: Path, row: str, number: int) -> Path:
    return folder / "pictures" / f"{number:03d} null text, {row}.png"


def table(path: Path) -> str:
    """Means over the views of each row, as Markdown."""
    return means(read(path), ROWS, FIGURES, "null embedding", "views")


def sheet(folder: Path, rows: Sequence[str], most: int = VIEWS) -> np.ndarray:
    """The reconstructions of the first views, the mean PSNR of all below."""
    found = read(folder / RESULTS)
    numbers = first_images(found, most)
    columns = []
    for row in ("autoencoder", *rows):
        values = [float(each["psnr"]) for each in found if each["row"] == row]
        lines = [f"{mean(values):.1f} dB"] if values else []
        columns.append(Column(row, [read_image(picture(folder, row, number)) for number in numbers], lines))
    return contact_sheet(columns, [str(number) for number in numbers], "Null embeddings of other views", "", most)
