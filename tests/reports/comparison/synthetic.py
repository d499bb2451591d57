"""A sweep's folder with made-up figures and pictures: what the page reads, without a model."""

import csv
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.writer import write_scene

STRENGTHS, INTERVALS, SEEDS = ("0.01", "0.02", "0.04"), ("3", "5"), ("0", "1")
FAILED = {"guidance.strength": "0.04", "schedule.interval": "5"}  # the setting whose every cell failed


def make_sweep(
    folder: Path,
    strengths: Sequence[str] = STRENGTHS,
    intervals: Sequence[str] = INTERVALS,
    size: int = 32,
    views: int = 4,
    scenes: int = 2,
    pictured: int | None = None,
) -> Path:
    """Scenes by two seeds by the settings; figures drawn from the settings with noise. pictured: how many cells have views; None:
    all that did not fail. Returns the sweep's folder."""
    paths = [write_scene_of(folder, seed, size, views) for seed in range(scenes)]
    swept = {"guidance.strength": strengths, "schedule.interval": intervals, "scene.path": paths, "seed": SEEDS}
    cells = [dict(zip(swept, values, strict=True)) for values in itertools.product(*swept.values())]
    return _write_sweep(folder, swept, cells, pictured)


def make_search(folder: Path, strengths: Sequence[str]) -> Path:
    """One scene, and each strength with one interval: as a search leaves it."""
    swept = {"guidance.strength": strengths, "schedule.interval": INTERVALS}
    scene = write_scene_of(folder, 0, 32, 4)
    cells = [{"guidance.strength": s, "schedule.interval": INTERVALS[i % 2]} for i, s in enumerate(strengths)]
    return _write_sweep(folder, swept, [{**cell, "scene.path": scene, "seed": "0"} for cell in cells])


def _write_sweep(
    folder: Path, swept: Mapping[str, Sequence[str]], cells: Sequence[dict[str, str]], pictured: int | None = None
) -> Path:
    sweep = folder / "sweeps" / "2026-11-21"
    sweep.mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = [_row(folder, cell, random, pictured is None or i < pictured) for i, cell in enumerate(cells)]
    with (sweep / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    words = [f"{key}={','.join(values)}" for key, values in swept.items() if key != "seed"]
    command = f"python -m qnerf.run -m +exp=ablation {' '.join(words)}"
    (sweep / "sweep.json").write_text(json.dumps({"command": command, "swept": swept}))
    return sweep


def write_scene_of(folder: Path, seed: int, size: int, views: int) -> str:
    path = folder / "scenes" / f"puppet_{seed}"
    write_scene(path, build_scene(seed, views=views, size=size))
    return str(path)


def _row(folder: Path, values: dict[str, str], random: np.random.Generator, pictured: bool) -> dict[str, object]:
    identity = f"{random.integers(2**63):016x}"
    run = folder / "ablation" / identity
    failed = FAILED.items() <= values.items()
    strength, interval = float(values["guidance.strength"]), float(values["schedule.interval"])
    moved = 0.15 - 1.5 * strength + 0.004 * interval + random.normal(0, 0.004)
    psnr = 24 - 60 * strength + random.normal(0, 0.5)
    figures = {
        "warp_error_moved": moved, "warp_error_moved_floor": 0.022, "psnr_object": psnr, "psnr_truth": psnr + 4,
        "heldout_psnr": 17 + random.normal(0, 0.3), "reconstruction_psnr_by_view.0": 40.0,
        "methods.full.psnr_object": psnr, "methods.independent.psnr_object": 24.5, "methods.independent.warp_error_moved": 0.155,
    }  # fmt: skip
    if pictured and not failed:
        _write_run(run, values["scene.path"], strength)
    shown = dict.fromkeys(figures, "") if failed else {key: f"{value:.6g}" for key, value in figures.items()}
    plain = {"scene": Path(values["scene.path"]).name, "identity": identity, "folder": str(run)}
    return {**values, **plain, "status": "failed" if failed else "done", "seconds": "" if failed else "81.5", **shown}


def _write_run(run: Path, scene: str, strength: float) -> None:
    (run / "edited").mkdir(parents=True)
    for path in sorted((Path(scene) / "images").glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(float)
        tinted = pixels * [1, 1 - 10 * strength, 1 - 20 * strength]
        Image.fromarray(tinted.clip(0, 255).astype(np.uint8)).save(run / "edited" / path.name)
    size = Image.open(next((run / "edited").glob("*.png"))).height
    node = {"scene": SceneSettings(path=scene, size=size).model_dump(mode="json")}
    (run / "config.yaml").write_text(f"# a command\n{OmegaConf.to_yaml(OmegaConf.create(node))}")
