"""Images without cameras: one file, or a JSON list of images with prompts of their own, as PIE-Bench has it (Ju et al. 2024).

An entry of the list is an object; PIE-Bench's `mapping_file.json` has them by name, a plain list does as well:

    {"image_path": "0_random/000.jpg", "original_prompt": "a [red] house", "editing_prompt": "a [blue] house", "mask": [0, 24, …]}

Paths are seen from the list's folder, or from `annotation_images` in it. Brackets mark words for readers and are left out. mask:
where the edit may be, pairs of a first pixel and a number of pixels, in the order of rows; missing or empty: everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.scenes.frames import ImageFinder
from qnerf.scenes.images import read_json
from qnerf.scenes.problems import brief, raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
TEXTS = ("image_path", "original_prompt", "editing_prompt")
ANNOTATED = "annotation_images"
ANYWHERE = {"focus": [0.0, 0.0, -1.0], "radius": 0.5}  # nothing asks where images without cameras look


def finds(path: Path) -> bool:
    """Whether it is an image, or JSON that lists some; other JSON files, such as a capture's, are no list."""
    if not path.is_file() or path.suffix.lower() != ".json":
        return path.is_file() and path.suffix.lower() in SUFFIXES
    document = read_json(path)
    entries = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    return any(isinstance(entry, dict) and "image_path" in entry for entry in entries)


def read(path: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Raises one UserError that names every entry which is wrong."""
    if path.suffix.lower() != ".json":
        return dict(ANYWHERE), [_frame(path.name, path)]
    problems: list[str] = []
    finder = ImageFinder(path.parent)
    parsed = (_parse(path, finder, where, entry, problems) for where, entry in _entries(path))
    frames = [frame for frame in parsed if frame is not None]
    raise_problems(str(path), problems)
    return dict(ANYWHERE), frames


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    document = read_json(path)
    pairs = document.items() if isinstance(document, dict) else ((str(index), entry) for index, entry in enumerate(document))
    return ((f"{path}: image {brief(name)}", entry) for name, entry in pairs)


def _parse(path: Path, finder: ImageFinder, where: str, entry: Any, problems: list[str]) -> Frame | None:
    texts = {key: entry.get(key) if isinstance(entry, dict) else None for key in TEXTS}
    if wrong := [key for key, value in texts.items() if not isinstance(value, str)]:
        problems.append(f"{where} has no text {', '.join(wrong)}, expected one each: add it.")
        return None
    runs = entry.get("mask") or []
    whole = isinstance(runs, list) and all(type(each) is int and each >= 0 for each in runs) and len(runs) % 2 == 0
    if not whole or (runs and not any(runs[1::2])):
        problems.append(
            f"{where} has a mask that is no list of pairs of whole numbers, a first pixel from 0 on and a number of pixels that is "
            "not 0 in all of them: write it again, or leave it out."
        )
        return None
    name, source, target = (str(value) for value in texts.values())
    image, note = finder.find(name)
    if image is None:
        image, note = finder.find(f"{ANNOTATED}/{name}")[0], note
    frame = _frame(name, image or path.parent / name, (_plain(source), _plain(target)), tuple(runs))
    return replace(frame, exists=image is not None, notes=(note,) if note else ())


def _frame(name: str, image: Path, prompts: tuple[str, str] | None = None, mask: Sequence[int] = ()) -> Frame:
    return Frame(name, image, True, np.eye(4), {"camera_angle_x": 0.9}, prompts, tuple(mask))


def _plain(prompt: str) -> str:
    return re.sub(r"[\[\]]", "", prompt)


READER = Reader(
    name="images",
    looks_for=f"an image ({', '.join(SUFFIXES)}) or a JSON list of images",
    finds=finds,
    read=read,
    files=lambda path: [path] if path.suffix.lower() == ".json" else [],
    posed=False,
)
