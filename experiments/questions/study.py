"""The paper's open questions, on scenes whose true edit is known (studies Q3 to Q8).

    python -m experiments.questions.study results    # measures what the folder lacks, scene by scene
    python -m experiments.questions.study results --images 4 --rows "views"
    python -m experiments.questions.study results --table    # the table of what has been measured

A row is a way to edit, as overrides of a run; an "image" of it is a held-out scene, in turns over
the kinds. Each is an ordinary run under runs/, from one store, so that rows share inversions, and
what is done is done once. The figures of a row on a scene are a file of results/: several processes
may work in one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import qnerf
from experiments import runs
from experiments.results import command
from experiments.runs import RESULTS, read, read_finished
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import read_image
from qnerf.scenes.on_demand import KINDS, WORLD
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene

FIRST = 101  # seed of the first scene of each kind
BASE = (
    "schedule=progressive", "baselines=[independent]", "control.detail=ends", "scene.views=12", "output.keep_pixels=false",
    "backbone.dtype=bfloat16", "chunk_size=8", "editor.source_cache_gib=1.0",
    "metrics.groups=[fidelity,consistency,silhouette,heldout]",
)  # fmt: skip
INTERVALS, STRENGTHS, STEP_SIZES, VIEWS = (2, 5, 10), (0.25, 0.5, 1.0), (0.01, 0.03, 0.1), (4, 8, 16, 32, 64)
RECORDERS, INVERSIONS = ("coarse", "middle", "fine"), ("null_text", "negative_prompt", "direct", "uniform_attention")
DEFAULT, ONE_SHOT = "explained, interval 5, strength 0.5", "one-shot"
ROWS: Mapping[str, tuple[str, ...]] = {
    **{
        f"explained, interval {interval}, strength {strength:g}": (
            f"schedule.interval={interval}",
            f"guidance.strength={strength:g}",
        )
        for interval in INTERVALS
        for strength in STRENGTHS
    },
    **{
        f"soft, interval {interval}, step {size:g}": (
            "guidance=soft",
            f"schedule.interval={interval}",
            f"guidance.step_size={size:g}",
        )
        for interval in INTERVALS
        for size in STEP_SIZES
    },
    **{f"views {views}": (f"scene.views={views}",) for views in VIEWS},
    ONE_SHOT: ("schedule=one_shot",),
    **{f"layers {name}": (f"recorder=decoder_{name}",) for name in RECORDERS},
    **{f"inversion {name}": (f"inversion={name}",) for name in INVERSIONS},
}
MANY = tuple(name for name in ROWS if name.startswith("views "))
FIGURES = {
    "cut": "cut, moved, %",
    "object": "object, dB",
    "moved": "moved, dB",
    "silhouette": "silhouette IoU",
    "heldout": "held-out, dB",
    "first_r2": "R², first field",
    "last_r2": "R², last field",
    "seconds": "s",
}
"""cut: the share of the independent edit's warp error above its floor that is taken away. object to
heldout: gains over the independent edit of the same run. R²: mean over layers. seconds: of the edit
without its inversion, on the machine as it was."""
DIGITS = {"cut": 0, "silhouette": 3, "seconds": 0}


def scene(number: int) -> str:
    """The name of a scene, from 0 on."""
    return f"{KINDS[number % len(KINDS)]}_{FIRST + number // len(KINDS)}"


def scene_path(folder: Path, row: str, number: int) -> str:
    """What `scene.path` names: the scene of 16 views, or for a row of so many views that of 64, of
    which the run takes some."""
    if row not in MANY:
        return f"procedural:{scene(number)}"
    path = folder / "scenes" / f"{scene(number)}_{max(VIEWS)}"
    if not path.is_dir():
        kind, seed = scene(number).split("_")
        write_scene(path, build_scene(int(seed), max(VIEWS), kind=kind, world=WORLD), WORLD)
    return str(path)


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool], first: int = 0) -> None:
    """Every row of every scene that the folder lacks, scene by scene."""
    for number in range(first, images):
        for name in ROWS:
            path = runs.result(folder, name, scene(number))
            if wanted(name) and not path.exists():
                words = (*BASE, *ROWS[name], f"scene.path={scene_path(folder, name, number)}", f"output_dir={folder / 'runs'}")
                runs.measure(path, name, number, words, figures)


def figures(run_folder: Path) -> dict[str, Any]:
    """`FIGURES` of a finished run; those that it does not have are left out."""
    methods = read_finished(run_folder, "metrics.json")["methods"]
    intervals = read_finished(run_folder, "methods/full.json")["intervals"]
    mine, other = methods["full"], methods["independent"]
    floor = mine["warp_error_moved_floor"]
    gains = {"object": "psnr_object", "moved": "psnr_moved", "silhouette": "silhouette_iou", "heldout": "heldout_psnr"}
    found = {name: mine[key] - other[key] for name, key in gains.items() if key in mine}
    above = other["warp_error_moved"] - floor
    if above > 0:
        found["cut"] = 100 * (other["warp_error_moved"] - mine["warp_error_moved"]) / above
    r2 = [mean(interval["r2"].values()) for interval in intervals]
    return {**found, **({"first_r2": r2[0], "last_r2": r2[-1]} if r2 else {}), "seconds": mine["seconds"]}


def table(path: Path) -> str:
    """Means over the scenes of each row, as Markdown."""
    return runs.means(read(path), ROWS, FIGURES, DIGITS)


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """The first view of some scenes as each row edits it, with the cut below."""
    found = read(folder / RESULTS)
    numbers = sorted({int(each["image"]) for each in found if each["row"] in rows})[:most]
    columns = []
    for name in rows:
        by_number = {int(each["image"]): each for each in found if each["row"] == name}
        if numbers and all(number in by_number for number in numbers):
            views = [read_image(min(Path(by_number[number]["folder"], "edited").glob("*.png"))) for number in numbers]
            columns.append(Column(name, views, [f"cut {runs.mean_of([*by_number.values()], 'cut', DIGITS)} %"]))
    if not columns:
        raise qnerf.UserError(
            f"{folder}: nothing was measured of {', '.join(rows)}, expected a row on each of {len(numbers)} scenes"
        )
    return contact_sheet(columns, [scene(number) for number in numbers], "Edited views", "", most)


if __name__ == "__main__":
    command(__doc__, measure_all, table, RESULTS, images=8)
