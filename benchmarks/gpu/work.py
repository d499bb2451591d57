"""The runs that the timing is made of: on one scene and one model, which is loaded once."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from benchmarks.bench_edit import watched
from benchmarks.gpu.prepare import READY
from benchmarks.gpu.stage import Stage
from qnerf.backbones.acceleration import accelerate
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.sd15 import Sd15Settings
from qnerf.config import RunSettings, parse
from qnerf.devices import pick_device
from qnerf.fields.settings import FieldSettings
from qnerf.reports.figures import MAIN_METHOD
from qnerf.run import CONFIGS


@dataclass(frozen=True)
class Work:
    """scratch: where runs and stores lie. base: overrides of every run."""

    scratch: Path
    base: list[str]
    views: int
    toy: bool

    def run(self, store: str, *overrides: str) -> dict[str, Any]:
        """One run, watched. Runs of one store share their inversions; what was edited with equal settings is not edited again."""
        place = [f"output_dir={self.scratch / store}", f"store.path={self.scratch / store / 'store'}"]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return watched([*self.base, *place, *overrides])

    def consolidated(self, iterations: int) -> list[str]:
        """The overrides of a full edit with a query field of this size."""
        size = ["field.grid.log2_table_size=10", "schedule.interval=1"] if self.toy else ["field=sd15"]
        return ["schedule=progressive", *size, f"field.optimiser.iterations={iterations}", "schedule.feedback=null"]

    def source_field(self) -> list[str]:
        """The overrides of a posed edit's source field: the usual one, but for a rehearsal."""
        return ["source_field.optimiser.iterations=3", "posing.refine=0"] if self.toy else []

    def chunk(self) -> int:
        """Views that an edit takes at once."""
        return min(run_settings(self.base).chunk_size, self.views)

    def rows(self) -> int:
        """Rows of an edit's pass: those views, with each of the predictions that a step combines."""
        settings = run_settings(self.base)
        scales = (settings.editor.control_guidance, settings.edit_scale(settings.methods()[MAIN_METHOD]))
        return self.chunk() * (1 + sum(scale != 1.0 for scale in scales))

    def field_step(self) -> tuple[int, int, int, FieldSettings | None]:
        """Iterations, rays, samples and settings of a field whose step is measured."""
        return (8, 64, 4, None) if self.toy else (300, 4096, 48, run_settings(["field=sd15"]).field)

    def forget_recordings(self) -> None:
        """Of passes, so that the next run makes its own and no other's are in memory, as in a process of its own."""
        model = self.backbone()
        model.passes = accelerate(run_settings(self.base).backbone.acceleration, model.device)
        gc.collect()

    def backbone(self) -> DiffusionBackbone:
        """The model of the runs."""
        settings = run_settings(self.base)
        return settings.backbone.build(pick_device(settings.device))


def run_settings(overrides: list[str]) -> RunSettings:
    """The settings of a run with these overrides."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", overrides))


def ready(stage: Stage) -> None:
    """Waits for scene and model, so that nothing else runs beside what is timed."""
    while not (stage.scratch / READY).exists():
        if stage.left < 20:
            raise TimeoutError("scene and model were not ready in time: see log.txt")
        time.sleep(0.2)


def load_work(stage: Stage) -> Work:
    found = json.loads((stage.scratch / READY).read_text(encoding="utf-8"))
    return Work(stage.scratch, found["overrides"], found["views"], stage.toy)


@contextmanager
def one_backbone() -> Iterator[None]:
    """Runs with equal backbone settings share the loaded model: reading it takes longer than most of them."""
    build, kept = Sd15Settings.build, {}

    def once(settings: Sd15Settings, device: torch.device | str = "cpu") -> DiffusionBackbone:
        key = (settings.model_dump_json(), str(device))
        if key not in kept:
            kept.clear()  # one at a time: the GPU's memory is measured
            kept[key] = build(settings, device)
        return kept[key]

    Sd15Settings.build = once  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        Sd15Settings.build = build  # pyright: ignore[reportAttributeAccessIssue]
