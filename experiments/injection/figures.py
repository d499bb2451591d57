"""What a picture is worth beside the truth, and tables of it with intervals. No constant picture
has a good figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.injection.features import Transform
from experiments.results import Found, picture
from qnerf.classifiers.accuracy import counted_parts
from qnerf.classifiers.classifiers import Classifiers
from qnerf.evaluate_backbone.views import Views
from qnerf.metrics.fidelity import LEAST_ERROR, psnr
from qnerf.reports.bootstrap import mean_interval
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image

ROUND = 3  # the object's region is this much wider than its silhouette, in pixels
FIGURES = ("object", "psnr", "labels", "silhouette")
"""object: dB by which the squared error in the object's region is below that of the best picture of
one colour, which has 0 by definition. psnr: dB, of all that the picture shows. labels: the share of
right answers of the classifiers: the kind, and the colours that the caption tells. silhouette:
intersection over union of the classifiers' silhouette and the true one."""
DECIBELS = ("object", "psnr")
COLUMNS: tuple[str, ...] = ("row", "image", *FIGURES)


def figures_of(image: Tensor, view: Views, transform: Transform, classifiers: Classifiers) -> dict[str, float]:
    """Of a picture (3, S, S) that is to be the transformed picture of a view."""
    truth, silhouette = transform.smooth(view.images), transform.cells(view.silhouettes)
    seen = transform.seen(*image.shape[-2:])
    wide = F.max_pool2d(silhouette[None].float(), 2 * ROUND + 1, stride=1, padding=ROUND)[0, 0] > 0
    found = classifiers.look(transform.upright(image)[None])
    parts = transform.upright(transform.cells(view.parts))
    told = counted_parts(view.names, parts)
    answers = [bool(found.kinds[0] == view.kinds[0]), *(found.names == view.names)[told].tolist()]
    own, true = found.silhouettes[0], transform.upright(silhouette)[0]
    both, either = (float((mask & transform.upright(seen)).sum()) for mask in (own & true, own | true))
    values = (
        beyond_one_colour(image, truth[0], wide & seen),
        psnr(image[None], truth, seen[None]),
        sum(answers) / len(answers),
        both / max(either, 1),
    )
    return dict(zip(FIGURES, values, strict=True))


def beyond_one_colour(image: Tensor, truth: Tensor, region: Tensor) -> float:
    """10 log10 of the truth's variance over the mean squared error, dB, in a region (H, W) of
    pictures (3, H, W)."""
    own, true = image[:, region], truth[:, region]
    variance, error = (true - true.mean(dim=1, keepdim=True)).square().mean(), (own - true).square().mean()
    return float(10 * (variance / error.clamp_min(LEAST_ERROR)).log10())


def table(found: Found, rows: Mapping[str, str], first: str) -> str:
    """Means with 95 % bootstrap intervals over images, as Markdown. rows: the row that each is
    compared with in the last column, image by image."""
    lines = [f"| {first} | images | {' | '.join(FIGURES)} | object, beyond |", "|---|---|" + "---|" * (len(FIGURES) + 1)]
    for name, other in rows.items():
        if some := {each["image"]: each for each in found if each["row"] == name}:
            cells = [interval([float(each[figure]) for each in some.values()], figure) for figure in FIGURES]
            against = {each["image"]: float(each["object"]) for each in found if each["row"] == other}
            more = [float(each["object"]) - against[image] for image, each in some.items() if image in against]
            cells.append(f"{interval(more, 'object', '+')} {other}" if more and other != name else "-")
            lines.append(f"| {name} | {len(some)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def interval(values: Sequence[float], figure: str, sign: str = "") -> str:
    """The mean, with its interval where there are enough images for one."""
    found, form = mean_interval(values, [str(number) for number in range(len(values))]), f"{sign}.{1 if figure in DECIBELS else 2}f"
    if not np.isfinite(found.low):
        return f"{found.value:{form}}"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def sheet(folder: Path, found: Found, truths: Iterable[str], rows: Sequence[str], title: str, most: int = 6) -> np.ndarray:
    """Pictures of some images, the truths first, with the mean figure of the object below."""
    numbers = sorted({int(each["image"]) for each in found if each["row"] in rows})[:most]
    columns = []
    for name in (*truths, *rows):
        there = [picture(folder, name, number) for number in numbers]
        if numbers and all(path.exists() for path in there):
            some = [float(each["object"]) for each in found if each["row"] == name]
            lines = [name.replace("η", "eta"), *([f"object {np.mean(some):.1f} dB"] if some else [])]
            columns.append(Column(lines[0], [read_image(path) for path in there], lines))
    return contact_sheet(columns, [str(number) for number in numbers], title, "", most)


def drawn(shape: Sequence[int], *seeds: int) -> Tensor:
    """Standard normal noise that goes by its seeds alone."""
    seed = int(np.random.SeedSequence(list(seeds)).generate_state(1)[0])
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
