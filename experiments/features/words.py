"""Whether cross-attention maps tell where a word is, by layer size and step (J22), and its centroid
and size (J30).

A held-out picture is noised to a share of the steps and seen by the U-Net in one pass under its
caption. The map of a word is the mean over heads and layers of one size. Words are the object's
noun and the colours that the caption tells, where what they name covers at least 2 % of the
picture; the truth is the part map, which is drawn from the solids. A colour that two parts have is
both.

auc: how often the map is larger at a place of the word than at another place (.5: it tells
nothing). centroid: the distance between the centroid of the map, softly thresholded as in
self-guidance (Epstein et al. 2023), and the true one, in widths of the picture. size: the
difference between the mean of that map and the true share of the picture. A row "another word" has
the same of the map of the word before it among the words of the caption: what any map would reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.inversions.study import SEED, WORLD
from experiments.passes import noised_pass
from experiments.results import adding, first_images, lacking, means, read
from qnerf.attention.hooks import Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.attention.maps import RecordMaps, thresholded, word_maps
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.words import word_weights
from qnerf.classifiers.labels import NAMES
from qnerf.config import RunSettings
from qnerf.evaluate_backbone.views import Views, heldout_views
from qnerf.reports.attention import heated
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.procedural.phrases import NOUNS
from qnerf.scenes.settings import width_height

SEEN, SHARES = 0.02, (0.1, 0.5, 0.9)
# of the latents' side that maps have: downsampling
SIZES: Mapping[str, int] = {"a quarter": 4, "half": 2, "all": 1}
ROWS: Mapping[str, tuple[int, float, bool]] = {
    f"{size} of the side, step {share:g}{', another word' if other else ''}": (downsampling, share, other)
    for other in (False, True)
    for size, downsampling in SIZES.items()
    for share in SHARES
}
FIGURES = ("auc", "centroid", "size")
RESULTS: str = "words.csv"
COLUMNS: tuple[str, ...] = ("row", "image", *FIGURES)


def places_of(views: Views, grid: tuple[int, int]) -> dict[str, Tensor]:
    """Of one view: where its words are, (rows, columns) bool, those that cover enough of it."""
    parts, caption = views.parts[0], views.captions[0].split()
    found = {next(word for word in caption if word in NOUNS): views.silhouettes[0]}
    for part, name in enumerate(views.names[0].tolist()):
        if name >= 0:
            found[NAMES[name]] = found.get(NAMES[name], torch.zeros_like(parts, dtype=torch.bool)) | (parts == part)
    shares = {word: F.adaptive_avg_pool2d(mask[None].float(), grid)[0] for word, mask in found.items()}
    return {word: share > 0.5 for word, share in shares.items() if (share > 0.5).float().mean() >= SEEN}


def auc(weights: Tensor, inside: Tensor) -> float:
    """The share of pairs of a place inside and one outside in which the one inside has the larger
    weight; ties count a half."""
    within, outside = weights[inside][:, None], weights[~inside][None]
    return float(((within > outside).double() + 0.5 * (within == outside).double()).mean())


def centroid(weights: Tensor) -> Tensor:
    """(2,): of weights (rows, columns), in widths of the picture."""
    rows, columns = weights.shape
    across, down = (torch.arange(n, dtype=weights.dtype) + 0.5 for n in (columns, rows))
    return torch.stack([(weights.sum(dim=0) * across).sum(), (weights.sum(dim=1) * down).sum()]) / weights.sum() / columns


def figures_of(maps: Mapping[str, Tensor], places: Mapping[str, Tensor], other: bool) -> dict[str, float]:
    """Means over the words. maps, places: (rows, columns) of each. other: of the map of another word."""
    each, words = [], list(places)
    for number, word in enumerate(words):
        weights, inside = maps[words[number - 1] if other else word].double(), places[word]
        soft = thresholded(weights.flatten()[None])[0].view_as(weights)
        apart = (centroid(soft) - centroid(inside.double())).norm()
        each.append((auc(weights, inside), float(apart), float((soft.mean() - inside.double().mean()).abs())))
    return dict(zip(FIGURES, (mean(values) for values in zip(*each, strict=True)), strict=True))


def maps_of(backbone: DiffusionBackbone, views: Views, share: float, words: Sequence[str]) -> dict[tuple[int, str], Tensor]:
    """The maps of words in one view, (h, w) of the latents, by downsampling and word."""
    clean, text, record = backbone.encode(views.images), backbone.embed([*views.captions]), RecordMaps()
    noised_pass(backbone, clean, text, share, Edits.at(backbone.cross_attention_layers, record), views.seeds[0])
    found, size = {}, backbone.latent_size
    for downsampling in SIZES.values():
        of_size: dict[AttentionLayer, Tensor] = {layer: p for layer, p in record.maps.items() if layer.downsampling == downsampling}
        grid = next(iter(of_size)).token_grid(size)
        for word in words:
            weights = word_weights(backbone.tokenizer, views.captions, [[word]], text.shape[1])
            image = word_maps(of_size, weights).unflatten(1, grid)[:, None]
            found[downsampling, word] = F.interpolate(image, size, mode="bilinear")[0, 0]
    return found


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """Every row of every image that the folder lacks, image by image."""
    path, settings = folder / RESULTS, RunSettings.compose()
    todo = lacking(path, filter(wanted, ROWS), range(images))
    if not todo:
        return
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    backbone, size = settings.backbone.build(torch.device("cpu")), width_height(settings.scene.size)[0]
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            view = heldout_views(SEED, number, 1, size, WORLD, ("joints",))
            places = places_of(view, backbone.latent_size)
            maps = {share: maps_of(backbone, view, share, list(places)) for share in SHARES}
            for name in left:
                downsampling, share, other = ROWS[name]
                of_words = {word: maps[share][downsampling, word] for word in places}
                add({"row": name, "image": number, **figures_of(of_words, places, other)})
            _draw(folder, number, view.images[0], maps[0.5], next(iter(places)))


def _draw(folder: Path, number: int, image: Tensor, maps: Mapping[tuple[int, str], Tensor], word: str) -> None:
    """The picture, and the maps of a word at the middle step."""
    write_image(picture(folder, "picture", number), image.numpy())
    for name, downsampling in SIZES.items():
        write_image(picture(folder, name, number), heated(image, maps[downsampling, word]).numpy())


def picture(folder: Path, name: str, number: int) -> Path:
    return folder / "pictures" / f"{number:03d} words, {name}.png"


def table(path: Path) -> str:
    """Means over the images of each row, as Markdown."""
    return means(read(path), ROWS, FIGURES, "maps")


def sheet(folder: Path, rows: Sequence[str], most: int = 6) -> np.ndarray:
    """Some pictures, and where the maps of their noun are at the middle step, by their size."""
    found = read(folder / RESULTS)
    numbers = first_images(found, most)
    columns = []
    for name in ("picture", *SIZES):
        some = [float(each["auc"]) for each in found if each["row"] == f"{name} of the side, step 0.5"]
        lines = [f"auc {mean(some):.2f}"] if some else []
        columns.append(Column(name, [read_image(picture(folder, name, number)) for number in numbers], lines))
    return contact_sheet(columns, [str(number) for number in numbers], "Maps of the object's noun", "", most)
