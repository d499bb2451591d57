"""What attention maps tell: a small classifier on the maps of each layer, of colours and of kinds
of object (study F1).

    python -m experiments run F1 --images 200    # costly: measures what is missing, then says what holds
    python -m experiments.probes.study outputs/studies/probes --table

Every image is a picture of the embedded model's world under its caption, noised to the middle of
the schedule, in one pass of the U-Net. A probe is a perceptron of two layers. It is trained on
pictures of training seeds, twice as many as the held-out ones that it is measured on. The classes
are the colour of the object's largest part that the caption tells, and the kind of object.

- cross: the mean over heads of the cross-attention map of the word of the class (a colour's name,
  the object's noun);
- self: the mean over heads of the whole self-attention map, which has no word;
- chosen layer: the layer whose probes are right most often on one half of the training pictures,
  trained on the other;
- shuffled labels: the same, trained on labels in another order; what is reached by chance.

Maps are averaged to at most 8 x 8 places, and a probe sees their first 64 principal components,
each of unit variance. The folder has results.csv (1 where a probe is right, for each held-out
image) and, in maps/, the maps of each image.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from experiments.inversions.study import SEED, WORLD
from experiments.passes import noised_pass
from experiments.results import first_images, means, read
from qnerf.attention.hooks import Edits
from qnerf.attention.maps import RecordMaps, RecordQueriesKeys, pooled_map, word_map
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.words import word_weights
from qnerf.classifiers.labels import FLOOR, LabelledView, label_sample, visible_pixels
from qnerf.config import RunSettings
from qnerf.reports.images import to_pixels
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.procedural.captions import COLOURS
from qnerf.scenes.procedural.phrases import NOUNS
from qnerf.scenes.procedural.samples import SEED_STRIDE
from qnerf.scenes.procedural.world import KINDS

Side = Literal["train", "heldout"]
SEEDS: Mapping[Side, int] = {"train": 1, "heldout": SEED}
MORE_TO_TRAIN = 2  # times the held-out images
SHARE, PLACES = 0.5, 8
COMPONENTS, HIDDEN, ITERATIONS, RATE, DECAY = 64, 64, 200, 3e-3, 0.1  # of AdamW, all images in one batch
CLASSES: Mapping[str, int] = {"colour": len(COLOURS), "kind": len(KINDS)}
LAYERS = range(16)
RESULTS: str = "results.csv"
COLUMNS = ("row", "image", *CLASSES)


@dataclass(frozen=True)
class Row:
    """The probe on one kind of maps. layer: None: the one that is chosen on the training pictures."""

    maps: Literal["cross", "self"]
    layer: int | None = None
    shuffled: bool = False


ROWS: Mapping[str, Row] = {
    **{f"{maps}, chosen layer": Row(maps) for maps in ("cross", "self")},
    **{f"{maps}, shuffled labels": Row(maps, shuffled=True) for maps in ("cross", "self")},
    **{f"{maps}, layer {layer}": Row(maps, layer) for maps in ("cross", "self") for layer in LAYERS},
}


def sample(side: Side, number: int) -> LabelledView:
    """The kinds in turn."""
    size = RunSettings.compose().scene.size
    return label_sample(
        SEEDS[side] * SEED_STRIDE + number, size if isinstance(size, int) else size[0], KINDS[number % len(KINDS)], WORLD,
        side == "heldout",
    )  # fmt: skip


def main_colour(view: LabelledView) -> int:
    """The index in `COLOURS` of the object's largest part whose colour the caption tells."""
    seen = visible_pixels(torch.from_numpy(view.parts)[None])[0]
    told = [part for part in range(FLOOR) if 0 <= view.names[part] < len(COLOURS)]
    return int(view.names[max(told, key=lambda part: int(seen[part]))])


def maps_of(backbone: DiffusionBackbone, view: LabelledView, seed: int) -> dict[str, Tensor]:
    """The maps of a picture, half floats (places,) or (places²,), by name: "cross colour 3", "cross
    kind 3", "self 3"; and its classes, "colour" and "kind"."""
    clean = backbone.encode(torch.from_numpy(view.image)[None])
    own, cross = RecordQueriesKeys(), RecordMaps()
    edits = Edits.at(backbone.layers, own) | Edits.at(backbone.cross_attention_layers, cross)
    text, classes = backbone.embed([view.caption]), {"colour": main_colour(view), "kind": KINDS.index(view.kind)}
    noised_pass(backbone, clean, text, SHARE, edits, seed)
    words = {"colour": list(COLOURS)[classes["colour"]], "kind": next(word for word in view.caption.split() if word in NOUNS)}
    found = {name: torch.tensor(value) for name, value in classes.items()}
    for name, word in words.items():
        weights = word_weights(backbone.tokenizer, [view.caption], [[word]], text.shape[1])
        for layer, p in cross.maps.items():
            image = word_map(p, weights / weights.sum()).unflatten(1, layer.token_grid(backbone.latent_size))
            found[f"cross {name} {layer.index}"] = F.adaptive_avg_pool2d(
                image, (min(PLACES, image.shape[-2]), min(PLACES, image.shape[-1]))
            )
    for layer, (q, k) in own.kept.items():
        found[f"self {layer.index}"] = pooled_map(q, k, layer.token_grid(backbone.latent_size), PLACES)
    return {name: x if name in classes else x.flatten().half() for name, x in found.items()}


def kept(folder: Path, side: Side, number: int) -> Path:
    return folder / "maps" / f"{side}_{number:04d}.safetensors"


def fit(inputs: Tensor, labels: Tensor, heldout: Tensor, classes: int, seed: int) -> Tensor:
    """Log-probabilities (M, classes) of held-out maps (M, places) by a probe that was trained on
    maps (N, places) with labels."""
    centre = inputs.mean(dim=0)
    _, sizes, axes = torch.linalg.svd(inputs - centre, full_matrices=False)
    some = sizes[:COMPONENTS] > 1e-4 * sizes[0]
    axes = (axes[:COMPONENTS][some] / sizes[:COMPONENTS][some, None]).T * len(inputs) ** 0.5
    inputs, heldout = (inputs - centre) @ axes, (heldout - centre) @ axes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        probe = nn.Sequential(nn.Linear(inputs.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
    optimiser = torch.optim.AdamW(probe.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(ITERATIONS):
        optimiser.zero_grad()
        F.cross_entropy(probe(inputs), labels).backward()
        optimiser.step()
    with torch.no_grad():
        return probe(heldout).log_softmax(dim=-1)


def right(train: Mapping[str, Tensor], heldout: Mapping[str, Tensor], row: Row, name: str, known: dict[tuple, Tensor]) -> Tensor:
    """(M,) bool: for which held-out images the probe of a row is right about a class. known: of
    probes that have been trained."""
    labels, layer = train[name].long(), row.layer
    if row.shuffled:
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    if layer is None:
        layer = max(LAYERS, key=lambda each: score(train[inputs_of(row, name, each)].float(), labels, CLASSES[name], each))
    key = (row.maps, layer, row.shuffled, name)
    if key not in known:
        inputs = inputs_of(row, name, layer)
        known[key] = fit(train[inputs].float(), labels, heldout[inputs].float(), CLASSES[name], layer)
    return known[key].argmax(dim=-1) == heldout[name]


def inputs_of(row: Row, name: str, layer: int) -> str:
    """The name of the maps that a row's probe of a class sees."""
    return f"cross {name} {layer}" if row.maps == "cross" else f"self {layer}"


def score(inputs: Tensor, labels: Tensor, classes: int, seed: int) -> float:
    """How often probes are right about one half of training maps that have been trained on the other."""
    halves = torch.arange(len(labels)) // len(KINDS) % 2 == 0  # kinds of object take turns
    found = [
        fit(inputs[half], labels[half], inputs[~half], classes, seed).argmax(dim=-1) == labels[~half] for half in (halves, ~halves)
    ]
    return float(torch.cat(found).float().mean())


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """Maps that the folder lacks, then, where rows or images are missing, all probes: each is
    trained on all images."""
    names, found = [name for name in ROWS if wanted(name)], read(folder / RESULTS)
    done = {(each["row"], int(each["image"])) for each in found}
    if all((name, number) in done for name in names for number in range(images)):
        return
    (folder / "maps").mkdir(parents=True, exist_ok=True)
    images = max(images, len(list((folder / "maps").glob("heldout_*"))))
    backbone = RunSettings.compose().backbone.build(torch.device("cpu"))
    counts: Mapping[Side, int] = {"heldout": images, "train": MORE_TO_TRAIN * images}
    for number in range(images):
        for side, count in counts.items():
            for each in range(number * count // images, (number + 1) * count // images):
                path = kept(folder, side, each)
                if not path.exists():
                    save_file(maps_of(backbone, sample(side, each), each), path.with_suffix(".part"))
                    path.with_suffix(".part").replace(path)
    train, heldout = stacked(folder, "train", counts["train"]), stacked(folder, "heldout", counts["heldout"])
    names += [name for name in {each["row"]: None for each in found} if name not in names]
    known: dict[tuple, Tensor] = {}
    with (folder / RESULTS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in names:
            each = [right(train, heldout, ROWS[row], name, known).int().tolist() for name in CLASSES]
            writer.writerows([row, number, *values] for number, values in enumerate(zip(*each, strict=True)))


def stacked(folder: Path, side: Side, count: int) -> dict[str, Tensor]:
    each = [load_file(kept(folder, side, number)) for number in range(count)]
    return {name: torch.stack([maps[name] for maps in each]) for name in each[0]}


def table(path: Path) -> str:
    """Accuracies of each row, as Markdown; chance is one of as many as there are classes."""
    chances = ", ".join(f"{name} {1 / count:.2f}" for name, count in CLASSES.items())
    return f"{means(read(path), ROWS, CLASSES, 'probe')}\n\nChance: {chances}."


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """Held-out pictures and the maps that probes of some layers saw, with their accuracies below."""
    found = read(folder / RESULTS)
    numbers = first_images(found, most)
    views, maps = ([sample("heldout", n) for n in numbers], [load_file(kept(folder, "heldout", n)) for n in numbers])
    columns = [Column("image", [to_pixels(torch.from_numpy(view.image)) for view in views], ["the caption's main colour"])]
    for row in (name for name in rows if ROWS[name].layer in (2, 5, 9, 12, 15)):
        key = {"cross": f"cross colour {ROWS[row].layer}", "self": f"self {ROWS[row].layer}"}[ROWS[row].maps]
        some = [each for each in found if each["row"] == row]
        lines = [f"{name} {mean(float(each[name]) for each in some):.2f}" for name in CLASSES]
        columns.append(Column(row, [_shade(each[key].float()) for each in maps], lines))
    return contact_sheet(columns, [str(number) for number in numbers], "Maps that tell the colour and the kind", "", most)


def _shade(x: Tensor) -> np.ndarray:
    """A map as a grey picture, its largest weight white."""
    side = round(len(x) ** 0.5)
    return to_pixels(F.interpolate((x / x.max()).view(1, 1, side, side), (128, 128))[0].expand(3, -1, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a folder")
    parser.add_argument("--images", type=int, default=200, help="held-out ones; probes are trained on twice as many others")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        measure_all(given.results, given.images, lambda name: True)
    print(table(given.results / RESULTS))


if __name__ == "__main__":
    main()
