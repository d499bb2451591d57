"""Denoising with the injected features of a transformed image: by latent (J28), by extraction and
injection (J29), by η (J25).

    python -m experiments run J28 --images 8

A held-out image is inverted in 30 steps under its caption, its features are read, transformed, and
injected while another latent is denoised under the same caption without guidance. The true result
is the transformed image itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from experiments.injection import figures
from experiments.injection.features import (
    Features,
    Transform,
    blurred,
    doubled,
    forward_features,
    joined,
    moved,
    noise_features,
    reverse_features,
    turned,
)
from experiments.injection.figures import COLUMNS, drawn, figures_of, picture
from experiments.injection.sampling import STRENGTH, Way, denoise
from experiments.inversions.study import SEED, STEPS, WORLD
from experiments.results import adding, command, lacking, read
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.classifiers.classifiers import load_classifiers
from qnerf.config import RunSettings
from qnerf.denoising.source import SourceBranch
from qnerf.evaluate_backbone.views import Views, heldout_views
from qnerf.inversions.ddim import DdimInversionSettings
from qnerf.scenes.images import write_image
from qnerf.scenes.settings import width_height

Latent = Literal["random", "original", "transformed", "re-inverted", "re-inverted blurred"]
Extraction = Literal["forward", "reverse", "noise"]
LATENTS: tuple[Latent, ...] = ("random", "original", "transformed", "re-inverted", "re-inverted blurred")
EXTRACTIONS: tuple[Extraction, ...] = ("forward", "reverse", "noise")
WAYS: tuple[Way, ...] = ("direct", "mixed", "guidance")
ETAS = (0.0, 0.1, 0.25, 0.5, 1.0)
TRANSFORMS: Mapping[str, Transform] = {"moved": moved(1 / 8), "turned": turned(), "doubled": doubled()}
BLUR = 4.0  # pixels of 128, of the corrupted picture (ours)
MOST = 8  # rows in a batch; larger ones are slower on a CPU


@dataclass(frozen=True)
class Row:
    """What is denoised, and what is injected on the way."""

    transform: str
    latent: Latent
    way: Way = "direct"
    extraction: Extraction = "reverse"
    eta: float = 0.0

    @property
    def name(self) -> str:
        more = "" if self.extraction == "reverse" or self.way == "none" else f" of {self.extraction}"
        return f"{self.transform}, {self.latent}, {self.way}{more}" + (f", η {self.eta:g}" if self.eta else "")


BY_LATENT = tuple(Row(t, latent, way) for t in TRANSFORMS for latent in LATENTS for way in ("none", "direct"))
GRID = (Row("moved", "random", "none"), *(Row("moved", "random", way, how) for how in EXTRACTIONS for way in WAYS))
STARTS: tuple[tuple[str, Latent], ...] = (("moved", "random"), ("moved", "transformed"), ("turned", "transformed"))
BY_NOISE = tuple(Row(*start, eta=eta) for start in STARTS for eta in ETAS)
STUDIES = {"J28": BY_LATENT, "J29": GRID, "J25": BY_NOISE}
ROWS: Mapping[str, Row] = {row.name: row for rows in STUDIES.values() for row in rows}
RESULTS: str = "results.csv"


def rows_of(study: str) -> tuple[str, ...]:
    return tuple(row.name for row in STUDIES[study])


class Image:
    """One view, and what is made of it once: inversions, features, latents to start from. number:
    of its noise."""

    def __init__(self, backbone: DiffusionBackbone, view: Views, number: int, steps: int = STEPS) -> None:
        self.backbone, self.view, self.number, self.steps = backbone, view, number, steps
        self.text = backbone.embed([view.captions[0], ""])
        self.noisiest = cache(self._noisiest)
        self.tape = cache(self._tape)

    def branch(self, rows: int = 1) -> SourceBranch:
        """Of so many rows under the caption."""
        steps, inversion = self.backbone.process.steps(self.steps), DdimInversionSettings(name="ddim").build()
        each = self.text[:, None].expand(-1, rows, -1, -1)
        return SourceBranch(self.backbone, steps, inversion, Conditioning.of(each[0]), each[1])

    def _noisiest(self, transform: str, blur: bool) -> Tensor:
        """Of the image, transformed and blurred where it is said, (1, 4, h, w)."""
        image = self.view.images
        image = TRANSFORMS[transform].smooth(image) if transform else image
        return self.branch().invert(self.backbone.encode(blurred(image, BLUR) if blur else image)).states[0]

    def start(self, transform: str, latent: Latent) -> Tensor:
        """The latents (1, 4, h, w) to denoise."""
        if latent == "random":
            return drawn((1, self.backbone.latent_channels, *self.backbone.latent_size), SEED, self.number)
        if latent.startswith("re-inverted"):
            return self.noisiest(transform, latent == "re-inverted blurred")
        original = self.noisiest("", False)
        return original if latent == "original" else TRANSFORMS[transform].cells(original)

    def _tape(self, extraction: Extraction) -> list[Features]:
        """The image's own features at each step."""
        if extraction == "reverse":
            return reverse_features(self.branch(), self.noisiest("", False))
        clean = self.backbone.encode(self.view.images)
        return (
            forward_features(self.branch(), clean) if extraction == "forward" else noise_features(self.branch(), clean, self.number)
        )

    def denoised(self, rows: Sequence[Row], strength: float = STRENGTH) -> Tensor:
        """Pictures (R, 3, S, S) of rows that are injected in one way, at one η."""
        way, eta = rows[0].way, rows[0].eta

        def features(k: int) -> Features:
            return joined([self._transformed(row, k) for row in rows])

        def noise(k: int) -> Tensor:
            return drawn(start.shape[1:], SEED, self.number, k + 1)  # a seed of 0 more would be the random latent's

        start = torch.cat([self.start(row.transform, row.latent) for row in rows])
        return self.backbone.decode(denoise(self.branch(len(rows)), start, way, features, eta, noise, strength))

    def _transformed(self, row: Row, k: int) -> Features:
        return {name: TRANSFORMS[row.transform].smooth(x) for name, x in self.tape(row.extraction)[k].items()}


def batches(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that can be denoised together."""
    by_kind: dict[tuple[Way, float], list[Row]] = defaultdict(list)
    for row in rows:
        by_kind[row.way, row.eta].append(row)
    return [some[place : place + MOST] for some in by_kind.values() for place in range(0, len(some), MOST)]


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every image that the folder lacks, image by image and batch by batch."""
    path, settings = folder / RESULTS, RunSettings.compose()
    todo = lacking(path, filter(wanted, ROWS), range(first, images))
    if not todo:
        return
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    backbone, classifiers = settings.backbone.build(torch.device("cpu")), load_classifiers()
    size = width_height(settings.scene.size)[0]
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            image = Image(backbone, heldout_views(SEED, number, 1, size, WORLD, ("joints",)), number)
            for name, transform in TRANSFORMS.items():
                write_image(picture(folder, f"{name}, truth", number), transform.smooth(image.view.images)[0].numpy())
            for rows in batches([ROWS[name] for name in left]):
                for row, found in zip(rows, image.denoised(rows), strict=True):
                    write_image(picture(folder, row.name, number), found.numpy())
                    values = figures_of(found, image.view, TRANSFORMS[row.transform], classifiers)
                    add({"row": row.name, "image": number, **values})


def table(path: Path) -> str:
    """Means with intervals; each row beside the same latent without an injection, or without noise
    where there is some."""
    beside = {name: replace(row, eta=0.0) if row.eta else Row(row.transform, row.latent, "none") for name, row in ROWS.items()}
    return figures.table(read(path), {name: row.name for name, row in beside.items()}, "features, latent, injection")


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """Truths and pictures of some images."""
    truths = [f"{name}, truth" for name in TRANSFORMS if any(ROWS[row].transform == name for row in rows)]
    return figures.sheet(folder, read(folder / RESULTS), truths, rows, "Injected features of transformed images", most)


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=8)
