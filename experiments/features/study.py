"""Principal components of queries, keys and residuals, by layer and step, and whether several views
share them (J26, J27).

Four neighbouring views of a held-out scene (40 degrees apart) are noised to a share of the steps
and seen by the U-Net in one pass under the scene's caption. Of a layer's features, all tokens of a
view together, the first three principal axes span a subspace; two subspaces are compared by the
mean cosine of their principal angles (1: the same, 0: at right angles).

variance: the share of the variance of all four views that their first three axes have. joint: the
cosine between a view's own axes and those of all four, as published. others: and those of the other
three, which have not seen the view. A row "another scene" has, under both names, the cosine to the
axes of four views of a scene of the next kind: what all pictures have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.inversions.study import WORLD
from experiments.passes import noised_pass
from experiments.results import adding, first_images, lacking, means, picture, read
from qnerf.attention.edits import RecordOutput
from qnerf.attention.hooks import Edits, join_heads
from qnerf.attention.layers import AttentionLayer
from qnerf.attention.maps import RecordQueriesKeys
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.evaluate_backbone.views import ring_views
from qnerf.reports.attention import FEATURES
from qnerf.reports.queries import principal_colours
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.runs.looking import residual_path
from qnerf.scenes.images import read_image, write_image
from qnerf.scenes.procedural.world import KINDS
from qnerf.scenes.settings import width_height

FIRST_SEED, VIEWS, AXES = 41_000, 4, 3
# a quarter, a half and all of the latents' side, in the decoder
LAYERS, SHARES = (9, 12, 15), (0.1, 0.5, 0.9)
MIDDLE = 0.5
SHOWN = "queries", 12, MIDDLE
ROWS: Mapping[str, tuple[str, int, float]] = {
    f"{name}, layer {layer}, step {share:g}{more}": (name, layer, share)
    for more in ("", ", another scene")
    for name in FEATURES
    for layer in LAYERS
    for share in (SHARES if not more else (MIDDLE,))
}
FIGURES = ("variance", "joint", "others")
RESULTS: str = "components.csv"
COLUMNS: tuple[str, ...] = ("row", "image", *FIGURES)

At = tuple[str, int, float]


def features_of(backbone: DiffusionBackbone, number: int) -> tuple[Tensor, dict[At, Tensor]]:
    """The views (V, 3, S, S) of scene `number`, and their features (V, rows, columns, C) by name,
    layer and share of the steps."""
    size = width_height(RunSettings.compose().scene.size)[0]
    views = ring_views(FIRST_SEED + number, size, WORLD, ("joints",), KINDS[number % len(KINDS)], VIEWS)
    clean, text, found = backbone.encode(views.images), backbone.embed([*views.captions]), {}
    layers = tuple(backbone.layers[index] for index in LAYERS)
    for share in SHARES:
        own, output = RecordQueriesKeys(), RecordOutput()
        edits = Edits.at(layers, own) | Edits(features={residual_path(layer): (output,) for layer in layers})
        noised_pass(backbone, clean, text, share, edits, number)
        for layer in layers:
            for name, x in zip(FEATURES, _maps(layer, own, output, backbone.latent_size), strict=True):
                found[name, layer.index, share] = x
    return views.images, found


def _maps(layer: AttentionLayer, own: RecordQueriesKeys, output: RecordOutput, size: tuple[int, int]) -> list[Tensor]:
    queries, keys = (join_heads(x).unflatten(1, layer.token_grid(size)) for x in own.kept[layer])
    return [queries, keys, output.kept[residual_path(layer)].movedim(1, -1)]


def axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """The first principal axes (C, 3) of features (…, C), and the share of the variance that they have."""
    flat = x.flatten(0, -2).double()
    flat = flat - flat.mean(dim=0)
    variances, directions = torch.linalg.eigh(flat.T @ flat)
    return directions[:, -AXES:], variances[-AXES:].sum() / variances.sum()


def alike(first: Tensor, second: Tensor) -> float:
    """The mean cosine of the principal angles between two subspaces, given by orthonormal axes (C, 3)."""
    return float(torch.linalg.svdvals(first.T @ second).mean())


def figures_of(x: Tensor, other: Tensor | None) -> dict[str, float]:
    """Of features (V, rows, columns, C). other: those of another scene, to which each view is
    compared then."""
    joint, variance = axes(x)
    each = [axes(view)[0] for view in x]
    if other is not None:
        found = mean(alike(own, axes(other)[0]) for own in each)
        return {"variance": float(variance), "joint": found, "others": found}
    rest = [axes(torch.cat([x[:view], x[view + 1 :]]))[0] for view in range(len(x))]
    return {
        "variance": float(variance),
        "joint": mean(alike(own, joint) for own in each),
        "others": mean(alike(own, some) for own, some in zip(each, rest, strict=True)),
    }


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """Every row of every scene that the folder lacks, scene by scene. An image is a scene."""
    path = folder / RESULTS
    todo = lacking(path, filter(wanted, ROWS), range(images))
    if not todo:
        return
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    backbone = RunSettings.compose().backbone.build(torch.device("cpu"))
    later: dict[int, tuple[Tensor, dict[At, Tensor]]] = {}
    with adding(path, COLUMNS) as add:
        for number, left in todo.items():
            pictures, found = later.pop(number, None) or features_of(backbone, number)
            later[number + 1] = features_of(backbone, number + 1)
            following = later[number + 1][1]
            _draw(folder, number, pictures, found[SHOWN])
            for name in left:
                other = following[ROWS[name]] if name.endswith("another scene") else None
                add({"row": name, "image": number, **figures_of(found[ROWS[name]], other)})


def _draw(folder: Path, number: int, pictures: Tensor, x: Tensor) -> None:
    """The first two views, and their features in colours of all views' axes and of their own."""
    together = principal_colours(x, x)[0]
    for view in range(2):
        own = principal_colours(x[view : view + 1], x[view : view + 1])[0][0]
        for name, image in (("view", pictures[view]), ("all views", together[view]), ("own", own)):
            large = F.interpolate(image[None], pictures.shape[-2:])[0]
            write_image(picture(folder, f"{name} {view}", number), large.numpy())


def table(path: Path) -> str:
    """Means over the scenes of each row, as Markdown."""
    return means(read(path), ROWS, FIGURES, "features", "scenes")


def sheet(folder: Path, rows: Sequence[str], most: int = 6) -> np.ndarray:
    """Two views of some scenes; queries of the middle layer in colours of the axes of all views,
    and of the view's own."""
    numbers = first_images(read(folder / RESULTS), most)
    columns = [
        Column(f"{name} {view}", [read_image(picture(folder, f"{name} {view}", number)) for number in numbers])
        for view in range(2)
        for name in ("view", "all views", "own")
    ]
    title = "Principal components: axes of all views, and each view's own"
    return contact_sheet(columns, [str(number) for number in numbers], title, "", most)
