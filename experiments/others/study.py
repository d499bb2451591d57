"""Edits of other kinds than a raised arm: the paper's second open question, on scenes whose true
edit is known (study `others`).

    python -m experiments run others --images 4    # one scene of each kind, and what holds
    python -m experiments.others.study outputs/studies/others --images 4 --rows "recoloured;pair"
    python -m experiments.others.study outputs/studies/others --table

A row is a kind of edit and a method; on a scene it is an ordinary run. Runs of a folder share one
store, and so a scene's inversion. Scenes come in turns over the kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

import qnerf
from experiments import runs
from experiments.results import command
from experiments.runs import RESULTS, read, read_finished
from qnerf.metrics.fidelity import psnr
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image
from qnerf.scenes.on_demand import OTHER_EDITS, PROCEDURAL, VIEWS, ensure_written
from qnerf.scenes.procedural.build import ring_of
from qnerf.scenes.procedural.other_edits import draw_other_edit
from qnerf.scenes.procedural.raycast import geometry

FIRST = 101  # seed of the first scene of each kind
BASE = (
    "baselines=[]", "scene.views=8", "backbone.dtype=bfloat16", "chunk_size=8",
    "metrics.groups=[fidelity,consistency,silhouette]",
)  # fmt: skip
METHODS: Mapping[str, tuple[str, ...]] = {
    "independent": ("schedule=independent", "guidance=off"),
    "full": (),
    "paper": ("+exp=paper",),
    "posed": ("schedule=posed", "guidance=off"),
}
BY_WORDS = {
    f"{method} by {editor}": (*METHODS[method], f"editor={editor}", "editor.guidance_scale=2")
    for editor in ("fpe", "p2p")
    for method in ("independent", "full")
}
"""Editors that change a colour by its word, at the guidance scale from which they do
(experiments/editors)."""
ROWS: Mapping[str, tuple[str, ...]] = {
    **{f"{kind}, {method}": words for kind in OTHER_EDITS for method, words in METHODS.items()},
    **{f"recoloured, {method}": words for method, words in BY_WORDS.items()},
}
FIGURES = {
    "psnr_object": "object, dB",
    "psnr_moved": "changed, dB",
    "silhouette_iou": "silhouette IoU",
    "psnr_background": "background, dB",
    "bystander": "bystander, dB",
    "warp_error_moved": "warp error, changed",
    "warp_error_moved_floor": "its floor",
}
"""changed: the parts that move, or have another colour. background: all but the edited object, with
the post or the other figure. bystander: these alone, where they are seen after the edit."""
DIGITS = {"silhouette_iou": 3, "warp_error_moved": 4, "warp_error_moved_floor": 4}


def scene(number: int) -> str:
    """The name of a scene, from 0 on."""
    return f"{OTHER_EDITS[number % len(OTHER_EDITS)]}_{FIRST + number // len(OTHER_EDITS)}"


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row that the folder lacks, scene by scene."""
    for number in range(first, images):
        name = scene(number)
        for row, words in ROWS.items():
            path = runs.result(folder, row, name)
            if name.startswith(f"{row.split(', ')[0]}_") and wanted(row) and not path.exists():
                given = (*words, *BASE, f"scene.path={PROCEDURAL}{name}", f"output_dir={folder / 'runs'}")
                runs.measure(path, row, number, given, partial(figures_of, name=name))


def figures_of(run_folder: Path, name: str) -> dict[str, float]:
    """`FIGURES` of a finished run; those that it does not have are left out."""
    figures = read_finished(run_folder, "metrics.json")["methods"]["full"]
    found = {key: float(figures[key]) for key in FIGURES if key in figures}
    paths = pictures(run_folder)
    edited = as_images(paths)
    seen = bystanders_seen(name, edited.shape[-1])[[int(path.stem) for path in paths]]
    if seen.any():
        truth = ensure_written(f"{PROCEDURAL}{name}") / "truth" / "edited"
        found["bystander"] = psnr(edited, as_images([truth / path.name for path in paths]), seen)
    return found


def as_images(paths: Sequence[Path]) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack([read_image(path) for path in paths])).permute(0, 3, 1, 2) / 255


def pictures(run_folder: Path) -> list[Path]:
    """The edited views of a run."""
    return sorted((run_folder / "edited").glob("*.png"))


def bystanders_seen(name: str, size: int) -> torch.Tensor:
    """Where the views show a bystander after the edit, (N, size, size) bool."""
    kind, seed = name.split("_")
    drawn = draw_other_edit(kind, int(seed))
    solids = drawn.solids(edited=True)
    first = len(solids) - len(drawn.bystanders)
    return torch.from_numpy(np.stack([geometry(view, solids)[1] >= first for view in ring_of(drawn, VIEWS, size)]))


def table(path: Path) -> str:
    """Means over the scenes of each row, as Markdown."""
    return runs.means(read(path), ROWS, FIGURES, DIGITS)


def sheet(folder: Path, rows: Sequence[str]) -> np.ndarray:
    """Of the first scene of each kind a view: the source, the true edit, and every method's. The
    view is the third."""
    found = {each["row"]: each for each in reversed(read(folder / RESULTS)) if each["row"] in rows}
    kinds = [kind for kind in OTHER_EDITS if all(f"{kind}, {method}" in found for method in METHODS)]
    if not kinds:
        raise qnerf.UserError(f"{folder}: no kind of edit was measured with all of {', '.join(METHODS)}: measure again")
    by_method = {m: [pictures(Path(found[f"{kind}, {m}"]["folder"]))[2] for kind in kinds] for m in METHODS}
    homes = [ensure_written(f"{PROCEDURAL}{scene(int(found[f'{kind}, full']['image']))}") for kind in kinds]
    views = [path.name for path in by_method["full"]]
    given = {"source": "images", "true edit": "truth/edited"}
    by_method = {**{k: [h / where / v for h, v in zip(homes, views, strict=True)] for k, where in given.items()}, **by_method}
    columns = [Column(name, [read_image(path) for path in paths], []) for name, paths in by_method.items()]
    return contact_sheet(columns, kinds, "Other edits", "", len(kinds))


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=4)
