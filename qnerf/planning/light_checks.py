"""Checks of a run without loading a model or an image: do the scene and the machine fit the settings?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from qnerf.backbones.backbone import acts_in
from qnerf.config import RunSettings
from qnerf.errors import UserError
from qnerf.runs.plan import prompt_problems, uses_oracle
from qnerf.runs.unposed import unposed_problems
from qnerf.scenes.drawing_files import drawing_files
from qnerf.scenes.fingerprint import home_of, proxy_file, scene_folder
from qnerf.scenes.focus import FLIP, find_region
from qnerf.scenes.frames import view_names
from qnerf.scenes.on_demand import NAMES, VIEWS, is_unwritten, joints_of, procedural_folder
from qnerf.scenes.openpose_joints import missing_sentence
from qnerf.scenes.readers.reader import reader_of
from qnerf.scenes.settings import width_height, written
from qnerf.scenes.view_choice import chosen_views


def check_files(cells: Iterable[RunSettings]) -> list[str]:
    """One sentence for each thing that the cells ask for and that their scenes and weights do not have."""
    errors: dict[str, None] = {}
    for settings in cells:
        errors.update(dict.fromkeys([*_scene_errors(settings), *_backbone_errors(settings), *_control_errors(settings)]))
    return list(errors)


def file_notes(cells: Iterable[RunSettings]) -> list[str]:
    """One sentence for each proxy that a run will warn of, since it moves nothing."""
    from qnerf.scenes.proxy_file import moves_nothing, read_proxy_file, still_sentence  # opencv comes with it

    notes: dict[str, None] = {}
    for path in {(settings.scene.path, settings.scene.proxy) for settings in cells}:
        with suppress(UserError):  # told by `check_files`
            folder = procedural_folder(path[0]) if is_unwritten(path[0]) else scene_folder(path[0])
            proxy = proxy_file(home_of(folder), path[1])
            if proxy.is_file() and moves_nothing(read_proxy_file(proxy)):
                notes[still_sentence(proxy)] = None
    return list(notes)


def count_views(settings: RunSettings) -> int:
    """How many views a run will edit: `scene.views`, or all images that are there. Raises UserError for a bad scene."""
    if is_unwritten(settings.scene.path):
        there, least = VIEWS, 2
    else:
        folder = scene_folder(settings.scene.path)
        reader = reader_of(folder, settings.scene.reader)
        there, least = sum(frame.exists for frame in reader.read(folder)[1]), reader.least
    if isinstance(settings.scene.views, str | tuple):
        return len(_chosen(settings))
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
            frames = reader_of(folder, settings.scene.reader).read(folder)[1]
            masked = settings.scene.views is not None or all(frame.mask for frame in frames)  # of some views: when they are read
            return [*errors, *unposed_problems(settings, count_views(settings), masked)]
        folder = home_of(folder)
        proxy = proxy_file(folder, settings.scene.proxy)
        errors += [] if unwritten else _pose_errors(settings)
    except UserError as error:
        return str(error).splitlines()
    if proxy.is_file():
        errors += _proxy_errors(proxy)
    elif settings.scene.proxy or not unwritten:
        errors.append(f"scene.proxy: {proxy} does not exist; expected the file that describes the edit: correct the path")
    if uses_oracle(settings) and (settings.scene.proxy or not (unwritten or (folder / "truth").is_dir())):
        errors.append(
            f"oracle: the true edited views of this edit are not known ({folder}/truth belongs to proxy.json): leave it out"
        )
    return errors


def _pose_errors(settings: RunSettings) -> list[str]:
    """What makes the scene's poses none, or poses of other axes."""
    from qnerf.scenes.mask_focus import middle_of_masks  # opencv comes with it

    folder = scene_folder(settings.scene.path)
    reader = reader_of(folder, settings.scene.reader)
    document, frames = reader.read(folder)
    turn = FLIP if settings.scene.axes == "opencv" else np.eye(4)
    frames = [replace(frame, pose=frame.pose @ turn) for frame in frames if frame.exists]
    poses = np.stack([frame.pose for frame in frames])
    given = (settings.scene.focus or document.get("focus"), settings.scene.radius or document.get("radius"))
    known = reader.axes_known or settings.scene.axes is not None
    points = reader.points(folder) if given[0] is None else None
    return find_region(str(folder), given, poses, poses, points, known, lambda: middle_of_masks(frames)).problems


def _proxy_errors(proxy: Path) -> list[str]:
    """What is wrong with a proxy's file."""
    from qnerf.scenes.proxy_file import read_proxy_file  # opencv comes with it

    try:
        read_proxy_file(proxy)
    except UserError as error:
        return str(error).splitlines()
    return []


def _prompt_errors(settings: RunSettings, folder: Path) -> list[str]:
    """Prompts that neither the folder nor the settings say, and what editors look for in those that there are."""
    said, frames = reader_of(folder, settings.scene.reader).read(folder)
    own = [frame.prompts for frame in frames if frame.prompts is not None]
    given, pairs = (settings.scene.source_prompt, settings.scene.target_prompt), []
    for pair in own or [(said.get("prompt"), said.get("target_prompt"))]:
        source, target = (text if text is not None else found for text, found in zip(given, pair, strict=True))
        pairs.append((source, source if target is None else target))
    known = [pair for pair in pairs if all(isinstance(text, str) for text in pair)]
    missing = [] if len(known) == len(pairs) else [f"{folder} has no 'prompt' (what the views show): set scene.source_prompt."]
    return [*missing, *prompt_problems(settings, known)]


def _control_errors(settings: RunSettings) -> list[str]:
    """What of the drawings for the ControlNets cannot be made."""
    errors: list[str] = []
    try:
        nets, path = settings.net_controls(), settings.scene.path
        unwritten = is_unwritten(path)
        proxy = proxy_file(procedural_folder(path) if unwritten else scene_folder(path), settings.scene.proxy)
    except UserError:  # of the backbone's kinds or of the scene, which are told elsewhere
        return []
    given = [state for state in ("source", "target") if getattr(settings.control, f"{state}_images") is not None]
    if given and not any(net.drawing == "images" for net in nets):
        errors.append(f"control.{given[0]}_images: no ControlNet is given it; set control.detail=images, or leave it out")
    for net in nets:
        if not any(acts_in(k, settings.steps, net.start, net.stop) for k in range(settings.steps)):
            key = net.key if net.key.startswith("backbone.") else f"backbone.{net.key}"
            errors.append(
                f"{key}: no step of steps={settings.steps} lies wholly between start={net.start:g} and stop={net.stop:g}, "
                "so that it never acts; set them further apart"
            )
        if net.drawing == "openpose":
            if unwritten and settings.scene.proxy is None:
                problem = missing_sentence(f"{net.key}: the proxy of {path}", "skeleton", joints_of(path))
            else:
                problem = _unnamed_joints(f"{net.key}: {proxy}", proxy)
            errors += [problem] if problem else []
        for state, place in (("source", net.source_images), ("target", net.target_images)):
            if net.drawing == "images":
                errors += _image_errors(settings, place, f"{net.key}.{state}_images")
    return errors


def _unnamed_joints(where: str, proxy: Path) -> str | None:
    """Why OpenPose's figure cannot be drawn of a proxy's file; what else is wrong with it, its reader says."""
    try:
        document = json.loads(proxy.read_text(encoding="utf-8"))
        return missing_sentence(where, document["kind"], document.get("joints", []))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _image_errors(settings: RunSettings, place: str | None, key: str) -> list[str]:
    try:
        there, names = drawing_files(place, key), _view_names(settings)
    except UserError as error:
        return [str(error)]
    missing = [name for name in names if name not in there]
    shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
    if missing:
        return [f"{key}: {place} has no drawing for {len(missing)} of {len(names)} views ({shown}); add <view>.png"]
    from qnerf.scenes.images import image_size  # opencv comes with it

    wanted = width_height(settings.scene.size)
    sizes = {name: image_size(there[name]) for name in names}
    other = [name for name, size in sizes.items() if size is not None and size != wanted]
    if not other:
        return []
    width, height = sizes[other[0]] or wanted
    return [
        f"{key}: {there[other[0]]} is {width} x {height} pixels, expected {wanted[0]} x {wanted[1]}"
        + (f", and so are {len(other) - 1} others of another size" if len(other) > 1 else "")
        + "; draw them at the views' size"
    ]


def _view_names(settings: RunSettings) -> list[str]:
    """Names of the views that will be edited; none where the scene would have to be written to know them."""
    wanted = settings.scene.views
    by_direction = isinstance(wanted, str) and wanted.startswith("farthest:")
    return [] if by_direction and is_unwritten(settings.scene.path) else _chosen(settings)


def _chosen(settings: RunSettings) -> list[str]:
    """The names of the views that are chosen; of a scene that is not written yet and whose directions count, of as many others.
    Raises UserError where they cannot be chosen so."""
    wanted, place = settings.scene.views, settings.scene.path
    if is_unwritten(place):
        if isinstance(wanted, str) and wanted.startswith("farthest:"):
            wanted = int(wanted.removeprefix("farthest:"))
        return [NAMES[index] for index in chosen_views(wanted, NAMES, 2, place, None)]
    folder = scene_folder(place)
    reader = reader_of(folder, settings.scene.reader)
    frames = [frame for frame in reader.read(folder)[1] if frame.exists]
    poses = np.stack([frame.pose for frame in frames]) if reader.posed and frames else None
    return list(view_names([frames[index] for index in chosen_views(wanted, view_names(frames), reader.least, place, poses)]))


def _prompts(settings: RunSettings) -> list[str]:
    """The prompts of the settings, or of the scene's folder."""
    given, document = settings.scene, {}
    try:
        if not is_unwritten(given.path):
            folder = scene_folder(given.path)
            document = reader_of(folder, given.reader).read(folder)[0]
    except UserError:
        pass  # told with the scene's errors
    source = given.source_prompt or document.get("prompt")
    target = given.target_prompt or document.get("target_prompt")
    return [prompt for prompt in (source, target, settings.negative_prompt) if isinstance(prompt, str)]


def _backbone_errors(settings: RunSettings) -> list[str]:
    errors = list(settings.backbone.problems(_prompts(settings), settings.control.detail))
    size, layers = settings.backbone.pixels(), settings.backbone.self_attention_layers()
    if size is not None and settings.scene.size != size:
        works = "{} pixels" if isinstance(size, int) else "{} pixels (width, height)"
        found = f"got {written(settings.scene.size)}, but backbone={settings.backbone.name} works at {works.format(written(size))}"
        errors.append(f"scene.size: {found}; set scene.size={written(size)}")
    shown = () if settings.attention is None else settings.attention.layers
    if bad := [index for index in shown if not 0 <= index < layers]:
        errors.append(f"attention.layers: got {bad}; expected indices from 0 to {layers - 1}")
    for method in settings.methods().values():
        bad = [index for index in (method.recorder or settings.recorder).layers if not 0 <= index < layers]
        if bad:
            errors.append(f"recorder.layers: got {bad}; expected indices from 0 to {layers - 1}")
    return errors
