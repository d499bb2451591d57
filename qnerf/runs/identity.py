"""What a run is, as a short hash: runs with one identity have one result, so the second need not be computed.

A run's identity is made of its stages' (`stages.py`), and a stage's of the settings, inputs and sources that can change its
result, and of nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qnerf.backbones.revision import weights_revision
from qnerf.common.hashes import checksum, digest
from qnerf.config import RunSettings
from qnerf.runs.memory import is_tiled
from qnerf.scenes.drawing_files import drawing_files
from qnerf.scenes.fingerprint import scene_fingerprint, scene_folder
from qnerf.scenes.readers.reader import reader_of

# Settings that cannot change a result. Contents of the scene and the backbone are hashed in place of their paths.
WITHOUT_EFFECT = (
    "experiment",
    "device",
    "chunk_size",
    "memory",
    "output_dir",
    "tracker",
    "store",
    "sweep",
    "scene.name",
    "scene.path",
    "scene.reader",  # its code counts by itself
    "scene.axes",  # hashed with the scene
    "scene.proxy",
    "control.source_images",  # hashed with the scene
    "control.target_images",
    "backbone.path",
    "backbone.model",
    "backbone.revision",
    "backbone.tokenizer",
    "backbone.vae",
    "backbone.controlnet",
    "backbone.controlnet_revision",
    "backbone.download",
    "backbone.acceleration",
    "inversion.warn_below_psnr",
    "editor.source_cache_gib",
    "guidance.checkpointing",
    "field.device_gib",
)
WITHOUT_EFFECT_OF_EDITOR, WITHOUT_EFFECT_OF_GUIDANCE = (
    {key.removeprefix(part) for key in WITHOUT_EFFECT if key.startswith(part)} for part in ("editor.", "guidance.")
)


@dataclass(frozen=True)
class Inputs:
    """What a result depends on beside settings and the code that they choose. scene, weights: hashes, none of weights that are
    not on this machine. reader: the module that reads the scene, whose code counts."""

    scene: str
    weights: str | None
    reader: str | None = None


def read_inputs(settings: RunSettings) -> Inputs:
    """Hashes the scene's and the backbone's files. Raises UserError where the scene's cannot be read."""
    given, folder = settings.scene, scene_folder(settings.scene.path)
    scene = scene_fingerprint(folder, given.proxy, given.reader)
    if given.axes is not None:
        scene = digest([scene, given.axes])
    if own := [net for net in settings.net_controls() if net.drawing == "images"]:
        places = [(place, net.key) for net in own for place in (net.source_images, net.target_images)]
        scene = digest([scene, *(checksum(path) for place in places for path in drawing_files(*place).values())])
    return Inputs(scene, weights_revision(settings.backbone), reader_of(folder, given.reader).module)


def effective_settings(settings: RunSettings) -> dict[str, Any]:
    """The settings that can change a result, as plain data."""
    kept: dict[str, Any] = settings.model_dump(mode="json")
    for key in WITHOUT_EFFECT:
        *parents, last = key.split(".")
        node = kept
        for parent in parents:
            node = node[parent]
        node.pop(last, None)
    if kept["backbone"]["dtype"] == "auto":  # what it is counts, not how it was chosen
        from qnerf.devices import pick_device  # torch, for those alone who leave it open

        kept["backbone"]["dtype"] = settings.backbone.dtype_on(str(pick_device(settings.device)))
    if is_tiled(settings):
        kept["backbone"]["tiled"] = True
    return kept


def run_folder(settings: RunSettings, identity: str) -> Path:
    """Where a run lands."""
    return Path(settings.output_dir) / settings.experiment / identity


def store_folder(settings: RunSettings) -> Path:
    """Where a run's stages are kept."""
    return Path(settings.store.path).expanduser() if settings.store.path else Path(settings.output_dir) / "store"
