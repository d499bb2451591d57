"""Checks of a run without loading a model or an image: do the scene and the machine fit the settings?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.runs.plan import prompt_problems, uses_oracle
from qnerf.runs.unposed import unposed_problems
from qnerf.scenes.fingerprint import proxy_file, scene_folder
from qnerf.scenes.on_demand import VIEWS, is_unwritten, procedural_folder
from qnerf.scenes.readers.reader import reader_of


def check_files(cells: Iterable[RunSettings]) -> list[str]:
    """One sentence for each thing that the cells ask for and that their scenes and weights do not have."""
    errors: dict[str, None] = {}
    for settings in cells:
        errors.update(dict.fromkeys([*_scene_errors(settings), *_backbone_errors(settings)]))
    return list(errors)


def count_views(settings: RunSettings) -> int:
    """How many views a run will edit: `scene.views`, or all images that are there. Raises UserError for a bad scene."""
    if is_unwritten(settings.scene.path):
        there, least = VIEWS, 2
    else:
        folder = scene_folder(settings.scene.path)
        reader = reader_of(folder, settings.scene.reader)
        there, least = sum(frame.exists for frame in reader.read(folder)[1]), reader.least
    wanted = settings.scene.views or there
    if there < max(least, wanted):
        raise UserError(
            f"scene.views: {settings.scene.path} has {there} images; expected at least {max(least, wanted)}: set a smaller "
            "scene.views"
        )
    return wanted


def _scene_errors(settings: RunSettings) -> list[str]:
    try:
        count_views(settings)
        unwritten = is_unwritten(settings.scene.path)  # it will have a proxy and the truth, and nothing is written for a check
        folder = procedural_folder(settings.scene.path) if unwritten else scene_folder(settings.scene.path)
        errors = [] if unwritten else _prompt_errors(settings, folder)
        if not unwritten and not reader_of(folder, settings.scene.reader).posed:
            return [*errors, *unposed_problems(settings)]
        proxy = proxy_file(folder, settings.scene.proxy)
    except UserError as error:
        return str(error).splitlines()
    if not proxy.is_file() and (settings.scene.proxy or not unwritten):
        errors.append(f"scene.proxy: {proxy} does not exist; expected the file that describes the edit: correct the path")
    if uses_oracle(settings) and (settings.scene.proxy or not (unwritten or (folder / "truth").is_dir())):
        errors.append(
            f"oracle: the true edited views of this edit are not known ({folder}/truth belongs to proxy.json): leave it out"
        )
    return errors


def _prompt_errors(settings: RunSettings, folder: Path) -> list[str]:
    """What editors look for in the prompts and do not find, where the folder or the settings say both."""
    said, frames = reader_of(folder, settings.scene.reader).read(folder)
    own = [frame.prompts for frame in frames if frame.prompts is not None]
    given, pairs = (settings.scene.source_prompt, settings.scene.target_prompt), []
    for pair in own or [(said.get("prompt"), said.get("target_prompt"))]:
        source, target = (text if text is not None else found for text, found in zip(given, pair, strict=True))
        pairs.append((source, source if target is None else target))
    return prompt_problems(settings, [pair for pair in pairs if all(isinstance(text, str) for text in pair)])


def _backbone_errors(settings: RunSettings) -> list[str]:
    errors = []
    size, layers = settings.backbone.pixels(), settings.backbone.self_attention_layers()
    if size is not None and settings.scene.size != size:
        found = f"got {settings.scene.size}, but backbone={settings.backbone.name} works at {size} pixels"
        errors.append(f"scene.size: {found}; set scene.size={size}")
    for method in settings.methods().values():
        bad = [index for index in (method.recorder or settings.recorder).layers if not 0 <= index < layers]
        if bad:
            errors.append(f"recorder.layers: got {bad}; expected indices from 0 to {layers - 1}")
    return errors
