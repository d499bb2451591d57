"""Edits of other kinds than a raised arm: the paper's second open question, on scenes whose true edit is known (study `others`).

    python -m experiments run others --images 4                 # one scene of each kind, and what holds
    python -m experiments.others.study outputs/studies/others --images 4 --rows "recoloured;pair"
    python -m experiments.others.study outputs/studies/others --table

A row is a kind of edit and a method; on a scene it is an ordinary run. Runs of a folder share one store, and so a scene's
inversion. Scenes come in turns over the kinds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

import qnerf
from qnerf.common.files import DamagedFile, read_json, write_json
from qnerf.metrics.fidelity import psnr
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.runs.pipeline import run
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
ROWS: Mapping[str, tuple[str, ...]] = {f"{kind}, {method}": words for kind in OTHER_EDITS for method, words in METHODS.items()}
FIGURES = {
    "psnr_object": "object, dB",
    "psnr_moved": "changed, dB",
    "silhouette_iou": "silhouette IoU",
    "psnr_background": "background, dB",
    "bystander": "bystander, dB",
    "warp_error_moved": "warp error, changed",
    "warp_error_moved_floor": "its floor",
}
"""changed: the parts that move, or have another colour. background: all but the edited object, with the post or the other figure.
bystander: these alone, where they are seen after the edit."""
DIGITS = {"silhouette_iou": 3, "warp_error_moved": 4, "warp_error_moved_floor": 4}
RESULTS: str = "results"


def scene(number: int) -> str:
    """The name of a scene, from 0 on."""
    return f"{OTHER_EDITS[number % len(OTHER_EDITS)]}_{FIRST + number // len(OTHER_EDITS)}"


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """Every row that the folder lacks, scene by scene."""
    for number in range(images):
        name = scene(number)
        for row, words in ROWS.items():
            path = result(folder, row, number)
            if name.startswith(f"{row.split(', ')[0]}_") and wanted(row) and not path.exists():
                given = (*words, *BASE, f"scene.path={PROCEDURAL}{name}", f"output_dir={folder / 'runs'}")
                found = run(qnerf.Settings.compose(*given), f"python -m qnerf.run {' '.join(given)}")
                write_json(path, {"row": row, "image": str(number), "folder": str(found), **figures_of(found, name)})


def figures_of(run_folder: Path, name: str) -> dict[str, float]:
    """`FIGURES` of a finished run; those that it does not have are left out."""
    try:
        figures = read_json(run_folder / "metrics.json")["methods"]["full"]
    except DamagedFile as error:
        raise qnerf.UserError(f"{run_folder}: {error}, expected a finished run: delete the folder and measure again") from error
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


def result(folder: Path, row: str, number: int) -> Path:
    """Where the figures of a row on a scene lie."""
    return folder / RESULTS / f"{row.replace(', ', '_')}-{scene(number)}.json"


def read(path: Path) -> list[dict[str, Any]]:
    """All that has been measured."""
    return [read_json(file) for file in sorted(path.glob("*.json"))]


def table(path: Path) -> str:
    """Means over the scenes of each row, as Markdown."""
    found = read(path)
    lines = [f"| edit | scenes | {' | '.join(FIGURES.values())} |", "|---|---|" + "---|" * len(FIGURES)]
    for name in ROWS:
        some = [each for each in found if each["row"] == name]
        if some:
            lines.append(f"| {name} | {len(some)} | {' | '.join(_mean(some, figure) for figure in FIGURES)} |")
    return "\n".join(lines)


def _mean(some: Sequence[Mapping[str, Any]], figure: str) -> str:
    values = [each[figure] for each in some if figure in each]
    return f"{mean(values):.{DIGITS.get(figure, 2)}f}" if values else "-"


def sheet(folder: Path, rows: Sequence[str]) -> np.ndarray:
    """Of the first scene of each kind a view: the source, the true edit, and every method's. The view is the third."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a folder")
    parser.add_argument("--images", type=int, default=4, help="the first so many scenes (4)")
    parser.add_argument("--rows", default="", help="only rows whose names begin so; several with semicolons between")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        measure_all(given.results, given.images, lambda name: name.startswith(tuple(given.rows.split(";"))))
    print(table(given.results / RESULTS))


if __name__ == "__main__":
    main()
