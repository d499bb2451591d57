"""One sheet of the benchmark: a scene of every kind, before the edit, after the true edit, and by every
method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from qnerf.benchmark.cells import BenchmarkCell
from qnerf.benchmark.tables import LOOSENESS, methods_of
from qnerf.common import renamed
from qnerf.common.files import Pixels
from qnerf.config import RunSettings, parse
from qnerf.reports.images import to_pixels
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.runs.folder import CONFIG
from qnerf.scenes.kept import keep_pixels
from qnerf.scenes.reader import read_scene


def chosen_cells(cells: Sequence[BenchmarkCell]) -> list[BenchmarkCell]:
    """The first scene of every kind under its loosest control but a box, which leaves the pose to chance."""
    order = [detail for detail in reversed(LOOSENESS) if detail != "box"]
    found: dict[str, BenchmarkCell] = {}
    for cell in sorted(cells, key=lambda c: (c.scene, order.index(c.detail) if c.detail in order else len(order))):
        found.setdefault(cell.kind, cell)
    return list(found.values())


def benchmark_sheet(cells: Sequence[BenchmarkCell]) -> Pixels:
    """(H, W, 3) bytes; of each scene the view that shows most of what moves."""
    chosen, methods = chosen_cells(cells), methods_of(cells)
    rows = [_pictures(cell, methods) for cell in chosen]
    titles = ["before", "true edit", *methods]
    columns = [Column(title, [row[i] for row in rows]) for i, title in enumerate(titles)]
    names = [f"{cell.scene}, {cell.detail}" for cell in chosen]
    return contact_sheet(columns, names, "The benchmark's edits, one scene of each kind", "", most_rows=len(rows))


def _pictures(cell: BenchmarkCell, methods: Sequence[str]) -> list[Pixels]:
    settings = read_settings(cell.folder)
    scene = read_scene(settings.scene)
    assert scene.truth is not None
    assert scene.truth.moved_edited is not None
    view = int(scene.truth.moved_edited.flatten(1).sum(dim=1).argmax())
    kept = [load_file(cell.folder / "methods" / f"{method}.safetensors") for method in methods]
    if all("images" in each for each in kept):  # of runs that keep pixels
        drawn = torch.stack([each["images"][view].float() / 255 for each in kept])
    else:
        drawn = settings.backbone.build().decode(torch.stack([each["latents"][view] for each in kept]).float())
    if all("mask" in each for each in kept):  # runs of before these pictures were written
        mask = torch.stack([each["mask"][view].float() / 255 for each in kept])
        drawn = keep_pixels(drawn, scene.images[view].expand_as(drawn), mask)
    return [to_pixels(image) for image in (scene.images[view], scene.truth.edited_images[view], *drawn)]


def read_settings(folder: Path) -> RunSettings:
    """A finished run's own. One from before pixels were kept has kept none."""
    config = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    assert isinstance(config, dict)
    found = renamed.config({str(key): value for key, value in config.items()})
    return parse(OmegaConf.create({"output": {"keep_pixels": False}, **found}))
