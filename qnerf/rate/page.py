"""The page on which a rater chooses: two edits of one scene side by side, unnamed, in an order that is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from qnerf.errors import UserError
from qnerf.measure_views.reading import read_folders
from qnerf.reports.comparison.pictures import MOST_VIEWS, strip
from qnerf.reports.html import render
from qnerf.reports.images import spread, to_pixels
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.fingerprint import proxy_file, scene_folder
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.scene import Scene

SIDE = 320  # pixels of a view at most


def rating_page(folders: Mapping[str, Path], source: str, seed: int = 0) -> str:
    """The page as text. folders: of the edited views, by the name of what made them. source: the capture that was edited.

    Raises UserError where the folders cannot be read, or do not have the same views.
    """
    scenes = {name: read_folders(folder, source, None) for name, folder in folders.items()}
    first = next(iter(scenes.values()))
    for name, scene in scenes.items():
        if scene.edited.view_names != first.edited.view_names:
            raise UserError(
                f"{folders[name]} has {len(scene.edited.view_names)} views, {next(iter(folders.values()))} "
                f"{len(first.edited.view_names)}, or of other names; expected the same views of all methods: add or remove some."
            )
    order = spread(len(first.edited.view_names), MOST_VIEWS)
    target = _target_pose(source, first.source)
    data = {
        "scene": scene_folder(source).name,
        "views": len(order),
        "ratio": first.source.cameras.width / first.source.cameras.height,
        "source": _strip(first.source.images, order),
        "target": None if target is None else _strip(target, order),
        "strips": {name: _strip(scene.edited.images, order) for name, scene in scenes.items()},
        "pairs": drawn_pairs(list(folders), seed),
    }
    assets = {part: Markup(files("qnerf.rate").joinpath(f"rate.{part}").read_text(encoding="utf-8")) for part in ("css", "js")}
    return render("rate.html", title="Which edit is better?", data=data, style=assets["css"], script=assets["js"])


def drawn_pairs(names: Sequence[str], seed: int) -> list[list[str]]:
    """Every two names once, [left, right], sides and order drawn."""
    random = np.random.default_rng(seed)
    pairs = [list(pair if random.random() < 0.5 else pair[::-1]) for pair in combinations(names, 2)]
    return [pairs[i] for i in random.permutation(len(pairs))]


def _target_pose(source: str, scene: Scene) -> Tensor | None:
    """The proxy after the edit in every view, (N, 3, H, W), or None where there is none."""
    path = proxy_file(scene_folder(source), None)
    if not path.is_file():
        return None
    return draw_proxy_control(read_proxy(path), "target", scene.cameras, "bones", (scene.cameras.height, scene.cameras.width))


def _strip(images: Tensor, order: Sequence[int]) -> str:
    pictures: Sequence[Any] = [Image.fromarray(to_pixels(images[view])) for view in order]
    return strip(pictures, SIDE)
