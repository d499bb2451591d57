"""The paper's open questions, on scenes whose true edit is known (studies Q3 to Q8).

    python -m experiments.questions.study results                        # measures what the folder has not yet, scene by scene
    python -m experiments.questions.study results --images 4 --rows "views"
    python -m experiments.questions.study results --table                # the table of what has been measured

A row is a way to edit, as overrides of a run; an "image" of it is a held-out scene, in turns over the kinds. Each is an
ordinary run under runs/, from one store, so that rows share inversions, and what is done is done once. The figures of a row on a
scene are a file of results/: several processes may work in one folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

import qnerf
from qnerf.common.files import DamagedFile, read_json, write_json
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.runs.pipeline import run
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
"""cut: the share of the independent edit's warp error above its floor that is taken away. object to heldout: gains over the
independent edit of the same run. R²: mean over layers. seconds: of the edit without its inversion, on the machine as it was."""
RESULTS: str = "results"
DIGITS = {"cut": 0, "silhouette": 3, "seconds": 0}


def scene(number: int) -> str:
    """The name of a scene, from 0 on."""
    return f"{KINDS[number % len(KINDS)]}_{FIRST + number // len(KINDS)}"


def scene_path(folder: Path, row: str, number: int) -> str:
    """What `scene.path` names: the scene of 16 views, or for a row of so many views that of 64, of which the run takes some."""
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
            path = result(folder, name, number)
            if wanted(name) and not path.exists():
                words = (*BASE, *ROWS[name], f"scene.path={scene_path(folder, name, number)}", f"output_dir={folder / 'runs'}")
                found = run(qnerf.Settings.compose(*words), f"python -m qnerf.run {' '.join(words)}")
                write_json(path, {"row": name, "image": str(number), "folder": str(found), **figures(found)})


def figures(run_folder: Path) -> dict[str, Any]:
    """`FIGURES` of a finished run; those that it does not have are left out."""
    try:
        methods = read_json(run_folder / "metrics.json")["methods"]
        intervals = read_json(run_folder / "methods" / "full.json")["intervals"]
    except DamagedFile as error:
        raise qnerf.UserError(f"{run_folder}: {error}, expected a finished run: delete the folder and measure again") from error
    mine, other = methods["full"], methods["independent"]
    floor = mine["warp_error_moved_floor"]
    gains = {"object": "psnr_object", "moved": "psnr_moved", "silhouette": "silhouette_iou", "heldout": "heldout_psnr"}
    found = {name: mine[key] - other[key] for name, key in gains.items() if key in mine}
    above = other["warp_error_moved"] - floor
    if above > 0:
        found["cut"] = 100 * (other["warp_error_moved"] - mine["warp_error_moved"]) / above
    r2 = [mean(interval["r2"].values()) for interval in intervals]
    return {**found, **({"first_r2": r2[0], "last_r2": r2[-1]} if r2 else {}), "seconds": mine["seconds"]}


def result(folder: Path, row: str, number: int) -> Path:
    """Where the figures of a row on a scene lie."""
    return folder / RESULTS / f"{row.replace(', ', '_').replace(' ', '')}-{scene(number)}.json"


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


def sheet(folder: Path, rows: Sequence[str], most: int = 4) -> np.ndarray:
    """The first view of some scenes as each row edits it, with the cut below."""
    found = read(folder / RESULTS)
    numbers = sorted({int(each["image"]) for each in found if each["row"] in rows})[:most]
    columns = []
    for name in rows:
        by_number = {int(each["image"]): each for each in found if each["row"] == name}
        if numbers and all(number in by_number for number in numbers):
            views = [read_image(min(Path(by_number[number]["folder"], "edited").glob("*.png"))) for number in numbers]
            columns.append(Column(name, views, [f"cut {_mean([*by_number.values()], 'cut')} %"]))
    if not columns:
        raise qnerf.UserError(
            f"{folder}: nothing was measured of {', '.join(rows)}, expected a row on each of {len(numbers)} scenes"
        )
    return contact_sheet(columns, [scene(number) for number in numbers], "Edited views", "", most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="a folder")
    parser.add_argument("--images", type=int, default=8, help="the first so many scenes (8)")
    parser.add_argument("--first", type=int, default=0, help="the first of these")
    parser.add_argument("--rows", default="", help="only rows whose names begin so; several with semicolons between")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        measure_all(given.results, given.images, lambda name: name.startswith(tuple(given.rows.split(";"))), given.first)
    print(table(given.results / RESULTS))


if __name__ == "__main__":
    main()
