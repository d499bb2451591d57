"""Listing: views.json, a list of images with their poses and one focal length in pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from qnerf.scenes.readers.reader import Frame, Reader

NAME = "views.json"


def read(folder: Path) -> tuple[dict[str, Any], list[Frame]]:
    document = json.loads((folder / NAME).read_text(encoding="utf-8"))
    numbers = {"fl_x": document["focal"]}
    return document, [Frame(name, folder / name, True, np.array(pose), numbers) for name, pose in document["views"]]


READER = Reader("listing", NAME, lambda folder: (folder / NAME).exists(), read, lambda folder: [folder / NAME])
