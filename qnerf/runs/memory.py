"""A run that fits a GPU's memory: what `memory=24gb` and so on lower, and which of them `memory=auto` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from qnerf.backbones.backbone import TILE
from qnerf.config import MethodSettings, RunSettings
from qnerf.scenes.settings import width_height
from qnerf.settings import Settings

Some = TypeVar("Some", bound=Settings)


@dataclass(frozen=True)
class Limits:
    """What a run may have at most; settings that ask for less stay. None of it changes a result, but `tiled` does.

    least_gib: of a GPU's memory, from which on `memory=auto` takes these. chunk_size: views in a pass. cache_gib: keys and values
    of the source. queries_gib: a field's targets on the device. checkpointing: gradients recompute activations. sliced: the
    autoencoder takes one picture at a time; tiled: in tiles, where pictures are larger than one; offloaded: it waits in the host's
    memory, as the text encoder does, while neither is at work.
    """

    least_gib: float
    chunk_size: int
    cache_gib: float
    queries_gib: float
    checkpointing: bool = False
    sliced: bool = False
    tiled: bool = False
    offloaded: bool = False


PRESETS = {
    "24gb": Limits(22, 4, 0.5, 4, sliced=True),
    "16gb": Limits(15, 2, 0.25, 2, sliced=True),
    "12gb": Limits(11, 1, 0, 0, checkpointing=True, sliced=True),
    "8gb": Limits(0, 1, 0, 0, checkpointing=True, sliced=True, tiled=True, offloaded=True),
}
"""The first three are those that docs/gpu.md measures under caps. Attention is not sliced: passes use PyTorch's fused attention,
which keeps no map in memory."""
AMPLE_GIB = 30.0  # from here on nothing is lowered


def limits_of(settings: RunSettings) -> Limits | None:
    """The limits of a run on its device; None: there are none. `memory=auto` looks at the GPU, if there is one and the model is
    one that fills it."""
    if settings.memory != "auto":
        return PRESETS[settings.memory]
    if settings.backbone.own_world or settings.device in ("cpu", "mps"):
        return None
    from qnerf.devices import memory_gib

    total = memory_gib(settings.device)
    if total is None or total >= AMPLE_GIB:
        return None
    return next(limits for limits in PRESETS.values() if total >= limits.least_gib)


def within_memory(settings: RunSettings) -> RunSettings:
    """The settings of a run, lowered to its limits: of all methods."""
    limits = limits_of(settings)
    if limits is None:
        return settings
    methods = {name: _lowered_method(method, limits) for name, method in settings.baselines.items()}
    main = {
        "chunk_size": min(settings.chunk_size, limits.chunk_size),
        "editor": _lowered(settings.editor, "source_cache_gib", limits.cache_gib),
        "field": _lowered(settings.field, "device_gib", limits.queries_gib),
        "guidance": _checkpointed(settings.guidance, limits),
        "baselines": methods,
    }
    return settings.model_copy(update=main)


def is_tiled(settings: RunSettings) -> bool:
    """Whether the autoencoder works in tiles, which blends them where they meet: this alone changes a result."""
    if max(width_height(settings.scene.size)) <= TILE:
        return False
    limits = limits_of(settings)
    return limits is not None and limits.tiled


def _lowered_method(method: MethodSettings, limits: Limits) -> MethodSettings:
    editor = method.editor and _lowered(method.editor, "source_cache_gib", limits.cache_gib)
    return method.model_copy(update={"editor": editor, "guidance": _checkpointed(method.guidance, limits)})


def _lowered(settings: Some, key: str, most: float) -> Some:
    if key not in type(settings).model_fields:
        return settings
    return settings.model_copy(update={key: min(getattr(settings, key), most)})


def _checkpointed(settings: Some, limits: Limits) -> Some:
    if not limits.checkpointing or "checkpointing" not in type(settings).model_fields:
        return settings
    return settings.model_copy(update={"checkpointing": True})
