"""What a sweep will cost before it starts: time, memory and disk, from the planned work and what its units were measured to take.

Calibrated on the demo (12 views of 128 pixels, 30 steps, embedded backbone, 2 CPU cores): an independent edit takes 22 s, a
full one 79 s, the whole run 140 s. Other machines and backbones scale; a GPU is not calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qnerf.config import MethodSettings, RunSettings
from qnerf.planning.light_checks import count_views
from qnerf.runs.plan import follows_posed, method_follows_posed, plan_method, plan_work, uses_oracle, uses_posed

MIB, GIB = 2**20, 2**30

# Seconds of the embedded backbone on 2 CPU cores.
PASS = 0.030  # UNet and ControlNet on one view, guided steps counted as `ScheduleSettings.work` counts them
FIRST_VISIT = 0.061  # of a step of one view by MasaCtrl: the source branch runs beside it, and its keys and values are kept
CODE = 0.05  # encoding or decoding one view
FIELD_START, FIELD_STEP = 0.4, 0.012  # of a field, and each of its iterations
SOURCE_STEP, POSED_VIEW = 0.035, 1.3  # an iteration of the source's radiance field, and rendering one posed view
MEASURE, HELDOUT_STEP = 1.0, 0.017  # of one method's figures, and each iteration of the field behind the held-out ones
START, REPORT = 5.0, 2.0  # imports, the model's weights and the hash of the scene; pictures, video and page

METHOD_FILES, VIEW_FILES = 0.25 * MIB, 0.19 * MIB  # of a method, and of each of its views


@dataclass(frozen=True)
class Estimate:
    """seconds: on 2 CPU cores, one run after the other. memory: bytes at the peak of one run. disk: bytes of all files."""

    seconds: float
    memory: float
    disk: float
    shared_inversions: int


def estimate_cost(cells: Sequence[RunSettings]) -> Estimate:
    """The cost of all cells of a sweep. An inversion or an edit that several cells share is counted once."""
    inversions = {key: found for settings in cells for key, found in _inversions(settings).items()}
    shared = {key: seconds for settings in cells for key, seconds in (_posing(settings) | _edits(settings)).items()}
    seconds = sum(each for each, _ in inversions.values()) + sum(shared.values()) + sum(map(run_seconds, cells))
    memory = max((run_memory(settings) for settings in cells), default=0.0)
    disk = sum(size for _, size in inversions.values()) + sum(map(run_bytes, cells))
    return Estimate(seconds, memory, disk, len(inversions))


def _inversions(settings: RunSettings) -> dict[str, tuple[float, float]]:
    """Seconds and bytes of a run's inversions: of the source views, with their reconstruction, of the oracle's true ones and of
    the posed ones."""
    views, slowness = count_views(settings), _slowness(settings)
    key, size = _inversion_key(settings), trajectory_bytes(settings)
    inversion = settings.inversion
    passes = inversion.passes(settings.steps) + inversion.reconstruction_passes(settings.steps)
    found = {key: (slowness * views * (passes * PASS + CODE), size)}
    others = {"truth": uses_oracle(settings), f"posed {_posed_key(settings)}": follows_posed(settings)}
    for name in (name for name, needed in others.items() if needed):
        found[f"{key} {name}"] = (slowness * views * (inversion.passes(settings.steps) * PASS + CODE), size)
    return found


def _posing(settings: RunSettings) -> dict[str, float]:
    """Seconds of the source's radiance field and of its posed views, where a method reads them."""
    if not uses_posed(settings):
        return {}
    field = settings.model_dump_json(include={"scene", "source_field", "seed"})
    rendered = POSED_VIEW * count_views(settings) * (settings.scene.size / 128) ** 2
    return {f"source field {field}": SOURCE_STEP * settings.source_field.optimiser.iterations, _posed_key(settings): rendered}


def _posed_key(settings: RunSettings) -> str:
    return settings.model_dump_json(include={"scene", "source_field", "posing", "seed"})


def _edits(settings: RunSettings) -> dict[str, float]:
    """Seconds of each method's edit. Seed, guidance and fields enter an edit's key where its schedule reads them."""
    found = {}
    for method in settings.methods().values():
        editor = method.editor or settings.editor
        used = editor.model_dump_json(exclude={"guidance_scale"})
        parts = [_inversion_key(settings), used, str(settings.edit_scale(method)), method.schedule.model_dump_json()]
        if method.schedule.consolidates:
            parts += [method.guidance.model_dump_json(), str(method.recorder)]
        if method.schedule.trains_fields:
            parts += [settings.field.model_dump_json(), str(settings.seed)]
        if method.schedule.reads_posed or method_follows_posed(settings, method):
            parts.append(_posed_key(settings))
        if method.schedule.trains_radiance_field:
            parts.append(settings.rgb_field.model_dump_json())
        found["\n".join(parts)] = method_seconds(settings, method, count_views(settings))
    return found


def run_seconds(settings: RunSettings) -> float:
    """All of a run but its inversions and edits."""
    decoding = plan_work(settings, count_views(settings))["decode"] * CODE * _slowness(settings)
    heldout = HELDOUT_STEP * settings.rgb_field.optimiser.iterations if "heldout" in settings.metrics.groups else 0.0
    looked = settings.attention.views if settings.attention is not None else 0
    decoding += settings.steps * PASS * _slowness(settings) * min(count_views(settings), looked)
    return START + decoding + len(settings.methods()) * (MEASURE + heldout) + REPORT


def method_seconds(settings: RunSettings, method: MethodSettings, views: int) -> float:
    """One method's edit of `views` views."""
    steps, editor = settings.steps, method.editor or settings.editor
    work = plan_method(method, steps, views)
    if not work["unet"]:
        return 0.0
    passes = 1 + (settings.edit_scale(method) != 1) + (editor.control_guidance != 1)  # predictions that are combined at each step
    beside = editor.total(lambda part: part.source_passes(steps)) * (FIRST_VISIT - PASS)
    own = editor.total(lambda part: part.own_passes(steps)) * PASS
    unet = work["unet"] * PASS + views * (beside + own / passes)
    fields = work.get("field", 0.0) * (FIELD_START + FIELD_STEP * settings.field.optimiser.iterations)
    radiance = HELDOUT_STEP * settings.rgb_field.optimiser.iterations + 3 * views * CODE * _slowness(settings)
    return unet * passes * _slowness(settings) + fields + work.get("feedback", 0.0) * radiance


def run_memory(settings: RunSettings) -> float:
    """Bytes of one process at its peak: libraries and weights, a chunk's activations, the source branch's keys and values."""
    costs, editor = settings.backbone.costs(settings.scene.size), settings.editor
    needed = editor.source_bytes(settings.steps, costs.keys) * count_views(settings)
    looked = settings.attention.memory(count_views(settings), costs.keys) if settings.attention is not None else 0.0
    return costs.process + costs.view * settings.chunk_size + min(editor.cache_gib * GIB, needed) + looked


def trajectory_bytes(settings: RunSettings) -> float:
    """An inversion's latents at every step: 4 channels of float32 at a share of the image's side."""
    latents = count_views(settings) * 4 * (settings.scene.size // settings.backbone.downsampling) ** 2 * 4
    return latents * (settings.steps + 1)


def run_bytes(settings: RunSettings) -> float:
    """The files of a run folder: views, sheets, video and page, and each method's latents."""
    area = (settings.scene.size / 128) ** 2
    return area * (METHOD_FILES + VIEW_FILES * count_views(settings)) * len(settings.methods())


def _inversion_key(settings: RunSettings) -> str:
    return settings.model_dump_json(include={"scene", "control", "steps", "inversion", "backbone"})


def _slowness(settings: RunSettings) -> float:
    """How many times slower a pass is than the embedded backbone's."""
    return settings.backbone.costs(settings.scene.size).slowness
