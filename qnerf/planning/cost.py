"""What a sweep will cost before it starts: time, memory and disk, from the planned work and what its units were measured to take.
Other machines and backbones than those of `units` scale."""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from qnerf.backbones.backbone import BackboneSettings, PassCosts
from qnerf.config import MethodSettings, RunSettings
from qnerf.fields.encodings.layout import grid_layout
from qnerf.planning import units
from qnerf.planning.light_checks import count_views
from qnerf.runs.memory import within_memory
from qnerf.runs.plan import follows_posed, method_follows_posed, plan_method, plan_work, uses_oracle, uses_posed
from qnerf.scenes.settings import width_height

GPUS = Path("/proc/driver/nvidia/gpus")  # where Linux has a folder for each


@dataclass(frozen=True)
class Estimate:
    """seconds: on 2 CPU cores, or on the GPU that was measured, one run after the other. memory:
    bytes at the peak of a run. disk: bytes of all files. doubted: seconds more at most, for query
    fields where posed views turn out not to be trusted."""

    seconds: float
    memory: float
    disk: float
    shared_inversions: int
    on_gpu: bool = False
    doubted: float = 0.0


def estimate_cost(cells: Sequence[RunSettings]) -> Estimate:
    """The cost of all cells of a sweep. An inversion or an edit that several cells share is counted once."""
    cells = [settings if settings.memory == "auto" else within_memory(settings) for settings in cells]
    inversions = {key: found for settings in cells for key, found in _inversions(settings).items()}
    shared: dict[str, float] = {}
    edits, doubted = dict[str, float](), dict[str, float]()
    for settings in cells:
        shared |= _posing(settings)
        edits |= _edits(settings, edits)
        doubted |= _edits(settings, doubted, doubted=True)
    shared |= edits
    more = sum(doubted.values()) - sum(edits.values())
    seconds = sum(each for each, _ in inversions.values()) + sum(shared.values()) + sum(map(run_seconds, cells))
    memory = max((run_memory(settings) for settings in cells), default=0.0)
    disk = sum(size for _, size in inversions.values()) + sum(map(run_bytes, cells))
    return Estimate(seconds, memory, disk, len(inversions), bool(cells) and all(map(on_measured_gpu, cells)), more)


def _inversions(settings: RunSettings) -> dict[str, tuple[float, float]]:
    """Seconds and bytes of a run's inversions: of the source views, with their reconstruction, of the oracle's true ones and of
    the posed ones."""
    views, slowness = count_views(settings), _slowness(settings)
    key, size = _inversion_key(settings), trajectory_bytes(settings)
    inversion, code = settings.inversion, _code(settings)
    passes = inversion.passes(settings.steps) + inversion.reconstruction_passes(settings.steps)
    found = {key: (views * (slowness * passes * units.PASS + code), size)}
    others = {"truth": uses_oracle(settings), f"posed {_posed_key(settings)}": follows_posed(settings)}
    for name in (name for name, needed in others.items() if needed):
        found[f"{key} {name}"] = (views * (slowness * inversion.passes(settings.steps) * units.PASS + code), size)
    return found


def _posing(settings: RunSettings) -> dict[str, float]:
    """Seconds of the source's radiance field, where a method reads its posed views or a depth ControlNet is drawn from it, and of
    those views."""
    if not uses_posed(settings) and not any(net.drawing == "depth" for net in settings.net_controls()):
        return {}
    field = settings.model_dump_json(include={"scene", "source_field", "seed"})
    step, view = (
        (units.GPU_SOURCE_STEP, units.GPU_POSED_VIEW) if on_measured_gpu(settings) else (units.SOURCE_STEP, units.POSED_VIEW)
    )
    rendered = view * count_views(settings) * _area(settings)
    trained = {f"source field {field}": step * settings.source_field.optimiser.iterations}
    return trained | ({_posed_key(settings): rendered} if uses_posed(settings) else {})


def _posed_key(settings: RunSettings) -> str:
    return settings.model_dump_json(include={"scene", "source_field", "posing", "seed"})


def _edits(settings: RunSettings, known: Container[str], doubted: bool = False) -> dict[str, float]:
    """Seconds of each method's edit that is not known yet. Seed, guidance and fields enter an edit's key where its schedule reads
    them. doubted: if no posed view is trusted."""
    found: dict[str, float] = {}
    warm = False  # whether an edit before has left the source's keys and values, which all methods of the run's editor share
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
        if (key := "\n".join(parts)) in known:
            continue
        shares = editor == settings.editor
        schedule = method.schedule.doubted() if doubted else method.schedule
        planned = method.model_copy(update={"schedule": schedule})
        found[key] = method_seconds(settings, planned, count_views(settings), warm and shares)
        warm = warm or (shares and found[key] > 0 and _source_bytes(settings, method) <= editor.cache_gib * units.GIB)
    return found


def run_seconds(settings: RunSettings) -> float:
    """All of a run but its inversions and edits."""
    decoding = plan_work(settings, count_views(settings))["decode"] * _code(settings)
    looked = settings.attention.views if settings.attention is not None else 0
    decoding += settings.steps * units.PASS * _slowness(settings) * min(count_views(settings), looked)
    start = units.START + units.LOAD * _costs(settings).weights + (units.GPU_START if on_measured_gpu(settings) else 0.0)
    return start + decoding + len(settings.methods()) * figures_seconds(settings)


def figures_seconds(settings: RunSettings) -> float:
    """One method's figures and its part of the report: of the output and, where it keeps pixels of the source, of the model's own
    pictures. The groups that no figure here is named for are in `MEASURE`."""
    pixels = count_views(settings) * _area(settings)
    field = units.HELDOUT_STEP * settings.rgb_field.optimiser.iterations
    of_group = {
        "heldout": field,
        "radiance": field + units.RENDER * pixels,
        "epipolar": units.MATCHED * pixels,
        "distribution": units.SEEN * pixels,
    }
    decoded = settings.metrics.measured_as_decoded() if settings.output.keep_pixels else ()
    named = sum(of_group.get(group, 0.0) for group in (*dict.fromkeys(settings.metrics.groups), *decoded))
    return pixels * (units.MEASURE * (1 + bool(decoded)) + units.REPORT) + named


def method_seconds(settings: RunSettings, method: MethodSettings, views: int, warm: bool = False) -> float:
    """One method's edit of `views` views. warm: the source's keys and values are in the cache, from a method before."""
    steps, editor = settings.steps, method.editor or settings.editor
    work = plan_method(method, steps, views)
    if not work["unet"]:
        return 0.0
    texts = _texts(settings, method)
    predicted = texts + (editor.control_guidance != 1)  # predictions that are combined at each step
    read = views * method.schedule.read_passes(method.guidance, steps)
    guided = (views * method.schedule.guided_passes(method.guidance, steps) - read) * predicted + read
    beside = 0.0 if warm else texts * editor.total(lambda part: part.source_passes(steps)) * (units.FIRST_VISIT - units.PASS)
    own = editor.total(lambda part: part.own_passes(steps)) * units.PASS
    unet = ((work["unet"] - read) * predicted + read) * units.PASS + views * (beside + own)
    unet += (units.GPU_GUIDED - 1) * guided * units.PASS if on_measured_gpu(settings) else 0.0
    radiance = units.HELDOUT_STEP * settings.rgb_field.optimiser.iterations + 3 * views * _code(settings)
    return unet * _slowness(settings) + fields_seconds(settings, method, views) + work.get("feedback", 0.0) * radiance


def fields_seconds(settings: RunSettings, method: MethodSettings, views: int) -> float:
    """Training a method's query fields, and the queries of all views that each renders."""
    fields = plan_method(method, settings.steps, views).get("field", 0.0)
    if not fields:
        return 0.0
    rendered = max(1, len(method.schedule.kept_intervals(method.guidance, settings.steps)))
    trained = fields * (units.FIELD_START + field_step(settings) * settings.field.optimiser.iterations)
    return trained + rendered * units.QUERIES * views * _area(settings)


def field_step(settings: RunSettings) -> float:
    """Seconds of an iteration of a query field: as many as it has evaluations, times levels of its grid."""
    field = settings.field
    size = field.optimiser.rays_per_batch * field.sampling.fine_samples * field.grid.levels
    return units.GPU_FIELD_STEP * size / units.GPU_FIELD if on_measured_gpu(settings) else units.FIELD_STEP * size / units.FIELD


def run_memory(settings: RunSettings) -> float:
    """Bytes of one process at its peak: libraries and weights, a chunk's activations, the source branch's keys and values."""
    costs, editor = _costs(settings), settings.editor
    needed = max(_source_bytes(settings, method) for method in settings.methods().values())
    looked = settings.attention.memory(count_views(settings), costs.keys) if settings.attention is not None else 0.0
    return costs.process + costs.view * settings.chunk_size + min(editor.cache_gib * units.GIB, needed) + looked


def _source_bytes(settings: RunSettings, method: MethodSettings) -> float:
    """Of the source's keys and values at all steps, which a method reads."""
    editor = method.editor or settings.editor
    return _texts(settings, method) * editor.source_bytes(settings.steps, _costs(settings).keys) * count_views(settings)


def _texts(settings: RunSettings, method: MethodSettings) -> int:
    """Texts whose predictions an edit combines: the prompt, and what it is guided away from."""
    return 1 + (settings.edit_scale(method) != 1)


def trajectory_bytes(settings: RunSettings) -> float:
    """An inversion's latents at every step: 4 channels of float32 at a share of the image's sides."""
    columns, rows = (side // settings.backbone.downsampling for side in width_height(settings.scene.size))
    latents = count_views(settings) * 4 * columns * rows * 4
    return latents * (settings.steps + 1)


def run_bytes(settings: RunSettings) -> float:
    """The files of a run folder: views, sheets, video and page, and each method's latents; and what the store keeps of the first
    interval, which other runs share: its field and its queries."""
    views, methods = count_views(settings), settings.methods()
    files = _area(settings) * (units.METHOD_FILES + units.VIEW_FILES * views) * len(methods)
    if not any(m.schedule.kept_intervals(m.guidance, settings.steps) for m in methods.values()):
        return files
    grid = grid_layout(settings.field.grid)
    field = 4 * (grid.rows * grid.features + settings.field.sampling.proposal_resolution**3)
    return files + field + views * _costs(settings).queries


def _inversion_key(settings: RunSettings) -> str:
    return settings.model_dump_json(include={"scene", "control", "steps", "inversion", "backbone"})


def _slowness(settings: RunSettings) -> float:
    """How many times slower a pass is than the embedded backbone's on a CPU."""
    costs = _costs(settings)
    return costs.gpu / units.PASS if on_measured_gpu(settings) and costs.gpu else costs.slowness


def _code(settings: RunSettings) -> float:
    """Seconds to encode or to decode one view."""
    costs = _costs(settings)
    of_cpu = costs.slowness * units.CODE if costs.code is None else costs.code
    return of_cpu * _slowness(settings) / costs.slowness


def _costs(settings: RunSettings) -> PassCosts:
    return _costs_of(cast("Hashable", settings.backbone), *width_height(settings.scene.size), "cuda" if on_gpu(settings) else "cpu")


def on_measured_gpu(settings: RunSettings) -> bool:
    """Whether a run's time is counted for a GPU: passes of its model were timed on one."""
    return on_gpu(settings) and _costs(settings).gpu is not None


def on_gpu(settings: RunSettings) -> bool:
    """Whether a run will be on a CUDA GPU, as far as the system says without torch, which a plan does not import."""
    return settings.device.startswith("cuda") or (settings.device == "auto" and GPUS.is_dir())


@cache
def _costs_of(backbone: Hashable, width: int, height: int, device: str) -> PassCosts:
    """Once for each backbone: its files are read."""
    assert isinstance(backbone, BackboneSettings)
    return backbone.costs(width, height, device)


def _area(settings: RunSettings) -> float:
    """Of a view, in those of the demo."""
    width, height = width_height(settings.scene.size)
    return width * height / 128**2
