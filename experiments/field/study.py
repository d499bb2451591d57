"""What makes the query field good: R² on views that it was not trained on, one setting changed at a time.

    python experiments/field/study.py                                   # all variants on four scenes: the table
    python experiments/field/study.py --scenes asset:puppet_a --only normalisation,loss

Of each scene the independent edit's queries of steps 4 and 9 of 30 are recorded once; every variant is a field of those of step
9, with every fourth view left out. A row's figures are means over the layers of a resolution and over the scenes, in brackets
scene by scene. Time is beside the default's, measured in the same process: run nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import mean

from hydra import compose, initialize_config_dir
from torch import Tensor
from tqdm import tqdm

from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.config import RunSettings, parse
from qnerf.consolidation.consolidate import Queries
from qnerf.consolidation.job import EditJob, layer_grid
from qnerf.consolidation.phases import plain_steps
from qnerf.denoising.source import SourceBranch
from qnerf.denoising.source_cache import SourceCache
from qnerf.denoising.views import invert_views
from qnerf.devices import pick_device
from qnerf.fields.explained import measure_field
from qnerf.fields.query_field import QueryField
from qnerf.fields.settings import FieldSettings
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.run import CONFIGS
from qnerf.runs.methods import recorded_layers
from qnerf.scenes.controls import draw_proxy_control
from qnerf.scenes.loose_depth import bounds_distance
from qnerf.scenes.reader import read_scene
from qnerf.scenes.region import edited_region

SCENES = "asset:puppet_a,procedural:lamp_111,procedural:seat_111,procedural:toy_111"
BASE = ["scene.views=12", "field.heldout_every=4"]
STEP = 9
EARLIER = 4  # where a warm start comes from
WARM = "warm start, "
STUDIES: Mapping[str, list[str]] = {
    "space": [
        "initial_density.surroundings=.3",
        "initial_density.surroundings=.03",
        "sampling.near_fraction=.55",
        "sampling.near_fraction=.8",
        "sampling.far_radii=3",
        "sampling.far_radii=1",
    ],
    "rate": ["optimiser.learning_rate=.01", "optimiser.learning_rate=.04"],
    "iterations": ["optimiser.iterations=200", "optimiser.iterations=800"],
    "rays": ["optimiser.rays_per_batch=256", "optimiser.rays_per_batch=1024"],
    "grid": ["grid.finest_resolution=32", "grid.finest_resolution=128", "grid.log2_table_size=14"],
    "sampling": [
        "sampling.uniform_share=1",
        "sampling.uniform_share=.2",
        "sampling.proposal=occupancy",
        "sampling.fine_samples=32",
    ],
    "background": ["background=false"],
    "near": ["sampling.scale_near_gradients=false"],
    "normalisation": ["normalisation=channel"],
    "components": ["components=8", "components=16", "components=32"],
    "loss": ["loss=squared", "loss=huber", "trimmed=.1"],
    "depth": ["depth_weight=.1", "depth_weight=1"],
    "width": ["geometry_width=32", "geometry_width=128", "hidden_layers=2"],
    "warm": [WARM + "optimiser.iterations=400", WARM + "optimiser.iterations=200"],
    "layers": ["8²", "16²", "32²"],  # a field of its own for each resolution
}


@dataclass(frozen=True)
class Recorded:
    """The queries of one scene's views, those of an earlier step, and what a field of them needs."""

    job: EditJob
    queries: Queries
    earlier: Queries

    @cached_property
    def earlier_field(self) -> QueryField:
        """The default's, of the earlier queries: what warm starts take over."""
        return train(self, self.earlier, self.job.field)


def settings_of(scene: str, change: str = "") -> RunSettings:
    """change: of the field; a variant that is no setting of it leaves the default."""
    setting = change.removeprefix(WARM)
    return parse(compose("config", [*BASE, f"scene.path={scene}", *([f"field.{setting}"] if "=" in setting else [])]))


def record(scene_path: str) -> Recorded:
    """The queries of an independent edit, which no field has guided."""
    settings = settings_of(scene_path)
    device = pick_device(settings.device)
    scene = read_scene(settings.scene)
    backbone = settings.backbone.build(device).for_control(settings.control.detail)
    assert scene.proxy is not None
    views, steps = len(scene.cameras), backbone.process.steps(settings.steps)
    source_control, control = (
        draw_proxy_control(scene.proxy, state, scene.cameras, settings.control.detail, backbone.image_size).to(device)
        for state in ("source", "target")
    )
    text, target, null = (backbone.embed([p]).expand(views, -1, -1) for p in (scene.source_prompt, scene.target_prompt, ""))

    def source(part: slice) -> SourceBranch:
        shown = Conditioning.of(text[part], source_control[part], settings.control.scale)
        return SourceBranch(backbone, steps, settings.inversion.build(), shown, null[part])

    clean = backbone.encode(scene.images.to(device))
    job = EditJob(
        backbone=backbone, steps=steps, trajectory=invert_views(source, clean, settings.chunk_size, lambda done: None),
        source=source, target=Conditioning.of(target, control, settings.control.scale), guidance_scale=1.0,
        region=edited_region(scene.proxy, scene.cameras, backbone.latent_size, settings.control.margin).to(device),
        editor=settings.editor.build(), cameras=scene.cameras.to(device), space=Space(scene.focus.to(device), scene.radius),
        field=settings.field, rgb_field=settings.rgb_field, seed=settings.seed, chunk_size=settings.chunk_size,
        source_cache=SourceCache(settings.editor.cache_gib),
        target_depth=bounds_distance(scene.proxy, "target", scene.cameras, backbone.image_size).to(device),
    )  # fmt: skip
    layers = recorded_layers(backbone, settings.recorder)
    _, queries = plain_steps(job, job.trajectory.states[0], 0, STEP + 1, record_at=(EARLIER, STEP), layers=layers)
    return Recorded(job, queries[STEP], queries[EARLIER])


def size_of(job: EditJob, layer: AttentionLayer) -> str:
    return f"{layer_grid(job.backbone, layer)[0]}²"


def train(recorded: Recorded, queries: Queries, field: FieldSettings, warm_start: QueryField | None = None) -> QueryField:
    job = recorded.job
    return train_query_field(
        maps_of(job, queries), job.cameras, job.space, field, job.seed, warm_start=warm_start, target_depth=job.target_depth
    )


def maps_of(job: EditJob, queries: Queries) -> dict[str, Tensor]:
    return {layer.path: q.unflatten(1, layer_grid(job.backbone, layer)) for layer, q in queries.items()}


def explained(recorded: Recorded, field: FieldSettings, change: str) -> tuple[dict[str, float], float]:
    """Mean R² by resolution on the views left out, and the seconds that it took. change: says too which maps are to be learnt, and
    whether from the field of the earlier step."""
    job = recorded.job
    layers = [layer for layer in recorded.queries if not change.endswith("²") or size_of(job, layer) == change]
    warm = recorded.earlier_field if change.startswith(WARM) else None
    queries = {layer: recorded.queries[layer] for layer in layers}
    started = time.perf_counter()
    trained = train(recorded, queries, field, warm)
    seconds, by_size = time.perf_counter() - started, defaultdict(list)
    found = measure_field(trained, maps_of(job, queries), job.cameras, job.region.object)
    for layer in layers:
        by_size[size_of(job, layer)].append(found[layer.path])
    return {name: mean(values) for name, values in by_size.items()}, seconds


def row(title: str, found: list[tuple[dict[str, float], float]], sizes: list[str], plain: float) -> str:
    cells = []
    for size in sizes:
        values = [by_size[size] for by_size, _ in found if size in by_size]
        cells.append(f"{mean(values):.3f} ({', '.join(f'{value:.2f}' for value in values)})" if values else "-")
    return f"| {title} | {' | '.join(cells)} | {mean(seconds for _, seconds in found) / plain:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", default=SCENES, help="scene paths, with commas between")
    parser.add_argument("--only", default=",".join(STUDIES), help="studies, with commas between: " + ", ".join(STUDIES))
    arguments = parser.parse_args()
    scenes, names = arguments.scenes.split(","), arguments.only.split(",")
    if unknown := [name for name in names if name not in STUDIES]:
        parser.error(f"no study is called {', '.join(unknown)}; choose among {', '.join(STUDIES)}")
    changes = ["", *(change for name in names for change in STUDIES[name])]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        fields = {change: settings_of(scenes[0], change).field for change in changes}
        recorded = [record(scene) for scene in tqdm(scenes, desc="recording queries")]
    sizes = list(dict.fromkeys(size_of(recorded[0].job, layer) for layer in recorded[0].queries))
    tqdm.write(f"\nR² on views left out: mean ({', '.join(scenes)}). Weights {recorded[0].job.backbone.revision}.\n")
    tqdm.write(f"| field | {' | '.join(sizes)} | time |\n|---|{'---|' * len(sizes)}---|")
    plain = 0.0
    for change, field in tqdm(fields.items(), desc="fields"):
        found = [explained(c, field, change) for c in recorded]
        plain = plain or mean(seconds for _, seconds in found)
        tqdm.write(row(title_of(change), found, sizes, plain))


def title_of(change: str) -> str:
    if not change:
        return "the default"
    if change.startswith(WARM):
        return f"`{change.removeprefix(WARM)}`, started from the field of step {EARLIER}"
    return f"maps of {change} alone" if change.endswith("²") else f"`{change}`"


if __name__ == "__main__":
    main()
