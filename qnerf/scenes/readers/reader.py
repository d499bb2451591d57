"""Readers: the formats that a folder of posed images may have. A reader is one file.

`qnerf/scenes/readers/x.py` has a `READER`; nothing else lists it. Installed packages add theirs as
entry points:

    [project.entry-points."qnerf.readers"]
    my_format = "my_package.my_format:READER"

Needs no torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import qnerf.scenes.readers
from qnerf.common.messages import sentence
from qnerf.common.plugins import installed
from qnerf.errors import UserError
from qnerf.scenes.foreign import foreign

ENTRY_POINTS = "qnerf.readers"


@dataclass(frozen=True)
class Frame:
    """One posed image. file_path: its name in the capture, from which its view is named. pose: (4, 4)
    camera to world, OpenGL axes. numbers: its intrinsics as far as they are given, by the keys of
    transforms.json (fl_x, fl_y, cx, cy, w, h, camera_angle_x, k1, …).

    image: its file, which is there or not (exists). prompts: of source and target, where the image has its
    own. mask: where the edit may be, pairs of a first pixel and a number of pixels, in the order of rows;
    empty: everywhere.

    fisheye: whether k1 … k4 are those of OpenCV's fisheye lens, instead of its usual one
    (`qnerf.scenes.lens`). notes: what the user should know of how it is read, such as "names a mask, which is
    not used": sentences that go on from the image's name.

    mask_file: white where the photograph counts. depth: the distance along the optical axis, a file or (h, w), 0
    where it is not known; depth_unit: in world units, None where nothing says (`qnerf.scenes.masks_and_depth`).
    pixels: (H, W, 3) uint8, where the image is part of a file of many; `image` is that file.
    """

    file_path: str
    image: Path
    exists: bool
    pose: np.ndarray
    numbers: dict[str, float]
    prompts: tuple[str, str] | None = None
    mask: tuple[int, ...] = ()
    fisheye: bool = False
    notes: tuple[str, ...] = ()
    mask_file: Path | None = None
    depth: Path | np.ndarray | None = None
    depth_unit: float | None = None
    pixels: np.ndarray | None = None


def _unknown(_: Path) -> None:
    return None


@dataclass(frozen=True)
class Reader:
    """One format. name: as `scene.reader` chooses it. looks_for: the file that tells the format, for
    messages.

    finds: whether a folder has the format. read: what is said of the whole scene ("prompt", "target_prompt",
    "focus", "radius", each if known), and its frames in order; it raises one UserError that names everything
    that is wrong. files: what it reads of a folder beside the frames' images, all of which counts in the
    scene's identity. posed: whether images have cameras; of others, each is edited by itself.

    points: points of the scene's surface, (P, 3) float64, where the format has some: they say where the
    cameras look if their axes do not, and how far off the scene is. limits: where the format says that itself, the
    nearest and the farthest distance. rank: where several readers find their formats in one folder, the one
    of the lowest rank reads it; of one rank, the user chooses. axes_known: whether the format leaves no doubt
    about the cameras' axes.
    """

    name: str
    looks_for: str
    finds: Callable[[Path], bool]
    read: Callable[[Path], tuple[dict[str, Any], list[Frame]]]
    files: Callable[[Path], Sequence[Path]]
    posed: bool = True
    points: Callable[[Path], np.ndarray | None] = _unknown
    limits: Callable[[Path], tuple[float, float] | None] = _unknown
    rank: int = 0
    axes_known: bool = False

    @property
    def least(self) -> int:
        """The number of images below which there is no scene."""
        return 2 if self.posed else 1

    @property
    def module(self) -> str:
        """The module whose code reads."""
        return self.read.__module__


@cache
def readers() -> dict[str, Reader]:
    """Every reader by name: the package's own, then those of installed packages.

    Raises UserError where two have one name, or an entry point gives no reader.
    """
    found: dict[str, tuple[str, Reader]] = {}
    places = [f"{qnerf.scenes.readers.__name__}.{info.name}" for info in pkgutil.iter_modules(qnerf.scenes.readers.__path__)]
    own = [(place, importlib.import_module(place).READER) for place in sorted(places) if place != __name__]
    expected = f"a {Reader.__module__}.{Reader.__qualname__}"
    for where, reader in (*own, *installed(ENTRY_POINTS, expected, lambda value: isinstance(value, Reader))):
        if reader.name in found:
            raise UserError(
                f"two readers are named {reader.name!r}, in {found[reader.name][0]} and in {where}; expected "
                "different names: rename or uninstall one"
            )
        found[reader.name] = where, reader
    return {name: reader for name, (_, reader) in found.items()}


def reader_of(folder: Path, chosen: str | None = None) -> Reader:
    """The reader of a folder: the chosen one, or the only one that finds its format there.

    Raises UserError where there is no such folder or reader, where none finds its format, or several do.
    """
    known = readers()
    if chosen is not None and chosen not in known:
        raise UserError(sentence("scene.reader", f"{chosen!r} is not valid", chosen, known))
    asked = [reader for name, reader in known.items() if chosen in (None, name)]
    if not folder.is_dir() and not any(reader.finds(folder) for reader in asked):
        problem, wanted = "is a file" if folder.exists() else "does not exist", _wanted(asked)
        raise UserError(f"scene.path {folder} {problem}, expected {wanted}: give the right path.")
    found = [reader for reader in asked if reader.finds(folder)]
    first = [reader for reader in found if reader.rank == min(each.rank for each in found)]
    if len(first) > 1:
        both = " and ".join(f"{reader.looks_for} (reader {reader.name})" for reader in first)
        raise UserError(f"{folder} has {both}, expected one of them: choose one, for example scene.reader={first[0].name}.")
    if not first and not any(reader.posed for reader in asked):
        raise UserError(f"scene.path {folder} is a folder, expected {_wanted(asked)}: give the file.")
    if not first:
        missing = ", ".join(f"{reader.looks_for} is missing (reader {reader.name})" for reader in asked if reader.posed)
        advice = foreign(folder) or "give a folder that has one of these"
        raise UserError(f"{folder} has no posed images ({missing}): {advice}.")
    return first[0]


def lacks_cameras(path: str, chosen: str | None) -> bool:
    """Whether a scene's path is of images without cameras, as far as its name and `scene.reader` say; errors are for others."""
    try:
        known, place = readers(), Path(path).expanduser()
        if chosen is not None:
            return chosen in known and not known[chosen].posed
        return place.is_file() and any(reader.finds(place) for reader in known.values() if not reader.posed)
    except UserError:
        return False


def _wanted(asked: Sequence[Reader]) -> str:
    """What readers look for, in words."""
    folders, files = ([reader.looks_for for reader in asked if reader.posed is posed] for posed in (True, False))
    return " or ".join([*([f"a folder with {' or '.join(folders)}"] if folders else []), *files])
