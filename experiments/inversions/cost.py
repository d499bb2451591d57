"""What uniform cross-attention maps cost beside ordinary ones: processor time and memory of a pass
(study U4).

A pass of the U-Net on random latents at the prompt's length; what is in them changes no cost.
Ordinary attention is measured as the model runs it, by a kernel that never writes maps out, and
with maps written out, as the papers' code does; uniform maps as `inversion=uniform_attention` has
them, and as the constant that is written in the place of maps that are computed. Rows are measured
in turns in one process. ratio: of the row's processor time to the first row's, the least of some
passes each. memory: the most that the pass has allocated at a time beyond what was there before it,
MiB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from experiments.inversions.study import STEPS
from experiments.results import adding, lacking, means, read
from qnerf.attention.edits import RecordProbs, UniformAttention
from qnerf.attention.hooks import CONDITIONAL, AttentionEdit, Batch, Edits
from qnerf.attention.maps import ChangeProbs
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.reports.sheet import Column, contact_sheet

VIEWS, TURNS = 4, 3  # views in a pass; passes of each row
ROWS: Mapping[str, Callable[[], AttentionEdit] | None] = {
    "ordinary": None,
    "ordinary, maps written out": RecordProbs,
    "uniform": UniformAttention,
    "uniform, maps written out": lambda: ChangeProbs((CONDITIONAL,), lambda layer, p: torch.full_like(p, 1 / p.shape[-1])),
}
FIGURES = ("seconds", "ratio", "memory")
RESULTS: str = "cost.csv"
COLUMNS: tuple[str, ...] = ("row", "image", *FIGURES)


def run_pass(backbone: DiffusionBackbone, make: Callable[[], AttentionEdit] | None, seed: int) -> float:
    """The processor time of one pass, seconds."""
    shape = (VIEWS, backbone.latent_channels, *backbone.latent_size)
    z, text = torch.randn(shape, generator=torch.Generator().manual_seed(seed)), backbone.embed(["a figure"] * VIEWS)
    edits = Edits() if make is None else Edits.at(backbone.cross_attention_layers, make())
    at, conditioning = backbone.process.steps(STEPS).time(STEPS // 2), Conditioning.of(text)
    with torch.no_grad(), backbone.bound(edits, Batch.of(0, [CONDITIONAL], VIEWS)):
        started = time.process_time()
        backbone.predict(z, at, conditioning)
        return time.process_time() - started


def peak_of(run: Callable[[], object]) -> float:
    """The most that a function has allocated at a time, MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        run()
    assert seen.profiler is not None
    assert seen.profiler.kineto_results is not None
    now = most = 0
    for event in seen.profiler.kineto_results.events():  # in the order in which they happened
        if event.name() == "[memory]":
            now += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            most = max(most, now)
    return most / 2**20


def measure_all(folder: Path, images: int, wanted: Callable[[str], bool]) -> None:
    """All rows of every repetition that the folder lacks: they are measured together, so that their
    ratio is of one time."""
    path = folder / RESULTS
    todo = lacking(path, ROWS, range(images))
    if not todo:
        return
    backbone = RunSettings.compose().backbone.build(torch.device("cpu"))
    run_pass(backbone, None, 0)  # the first pass of a process is slower
    with adding(path, COLUMNS) as add:
        for number in todo:
            turns = [{name: run_pass(backbone, make, number) for name, make in ROWS.items()} for _ in range(TURNS)]
            least = {name: min(turn[name] for turn in turns) for name in ROWS}
            for name, make in ROWS.items():
                memory = peak_of(partial(run_pass, backbone, make, number))
                ratio = least[name] / least["ordinary"]
                add({"row": name, "image": number, "seconds": least[name], "ratio": ratio, "memory": memory})


def table(path: Path) -> str:
    """Means over the repetitions of each row, as Markdown."""
    return means(read(path), ROWS, FIGURES, "attention", "repetitions")


def sheet(folder: Path, rows: Sequence[str]) -> np.ndarray:
    """Bars of time and memory, each of its largest."""
    found = read(folder / RESULTS)
    values_of = {name: {key: mean(float(each[key]) for each in found if each["row"] == name) for key in FIGURES} for name in rows}
    largest = {key: max(values[key] for values in values_of.values()) for key in FIGURES}
    columns = []
    for name, values in values_of.items():
        bars = [_bar(values[key] / largest[key]) for key in ("ratio", "memory")]
        columns.append(Column(name, bars, [f"{values['ratio']:.2f} of the time", f"{values['memory']:.1f} MiB"]))
    return contact_sheet(columns, ["time", "memory"], "A pass of the U-Net", "")


def _bar(share: float) -> np.ndarray:
    """A picture whose lower part is dark."""
    picture = np.full((160, 160, 3), 235, dtype=np.uint8)
    picture[round(160 * (1 - share)) :, 40:120] = 70
    return picture
