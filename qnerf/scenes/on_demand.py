"""Procedural scenes by name: `scene.path=procedural:lamp_101` is the held-out lamp of seed 101,
written when it is first asked for.

They follow from their name and the generator's code alone, so they are kept in the user's cache,
under the version of that code.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qnerf.common.sources import code_version
from qnerf.errors import UserError

PROCEDURAL = "procedural:"
VIEWS = 16
WORLD = 2
NAMES = tuple(f"{index:03d}" for index in range(VIEWS))  # of its views
# of that world; its own module would import torch, which a light check must not
KINDS = ("figure", "lamp", "seat", "toy")

# figures with an edit of another kind: `procedural.other_edits`
OTHER_EDITS = ("recoloured", "sitting", "occluded", "pair")

_apart: list[Path] = []  # the temporary folder, while nothing is kept


@contextmanager
def nothing_kept() -> Iterator[None]:
    """While this lasts, scenes that are not there yet are written to a temporary folder, which goes
    away with it: for a dry run, which needs their hashes and leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="qnerf-scenes-") as folder:
        _apart.append(Path(folder))
        try:
            yield
        finally:
            _apart.pop()


def is_procedural(path: str) -> bool:
    """Whether a scene's path names a procedural scene."""
    return path.startswith(PROCEDURAL)


def kind_and_seed(path: str) -> tuple[str, int]:
    """What `procedural:<kind>_<seed>` names. Raises UserError for anything else."""
    known = KINDS + OTHER_EDITS
    found = re.fullmatch(rf"{PROCEDURAL}({'|'.join(known)})_(\d{{1,9}})", path)
    if not found:
        raise UserError(
            f"scene.path is {path!r}, expected {PROCEDURAL}<kind>_<seed> with a kind of {', '.join(known)} and a whole "
            f"number, such as {PROCEDURAL}lamp_101."
        )
    return found[1], int(found[2])


def procedural_folder(path: str) -> Path:
    """Where the scene is, or will be."""
    kind, seed = kind_and_seed(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = cache / "qnerf" / "scenes" / code_version("qnerf.scenes.procedural.build") / f"{kind}_{seed}"
    return _apart[-1] / folder.name if _apart and not folder.is_dir() else folder


def is_unwritten(path: str) -> bool:
    """Whether a path names a procedural scene that nobody has asked for yet. Raises UserError for
    one that there cannot be."""
    return is_procedural(path) and not procedural_folder(path).is_dir()


def joints_of(path: str) -> tuple[str, ...]:
    """The joints of a procedural scene's proxy, known before it is written."""
    from qnerf.scenes.procedural.lamp import Lamp
    from qnerf.scenes.procedural.puppet import Puppet
    from qnerf.scenes.procedural.seat import Seat
    from qnerf.scenes.procedural.toy import Toy

    shapes: dict[str, type[Puppet | Lamp | Seat | Toy]] = dict(zip(KINDS, (Puppet, Lamp, Seat, Toy), strict=True))
    return shapes.get(kind_and_seed(path)[0], Puppet).JOINTS


def ensure_written(path: str) -> Path:
    """The scene's folder, written now if it is not there. Raises UserError where that is impossible."""
    folder = procedural_folder(path)
    if folder.is_dir():
        return folder
    # half a second, and only who asks for such a scene pays
    from qnerf.scenes.procedural.build import build_scene
    from qnerf.scenes.writer import write_scene

    kind, seed = kind_and_seed(path)
    done = "Drawing" if _apart else "Writing"
    where = "for this dry run alone" if _apart else f"to {folder}"
    print(f"{done} the procedural scene {folder.name}, {VIEWS} views, {where}", file=sys.stderr, flush=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_scene(folder, build_scene(seed, VIEWS, kind=kind, world=WORLD), WORLD)
    except (OSError, UserError) as error:  # the latter where the folder is there already
        if folder.is_dir():  # another process was faster, and wrote the same
            return folder
        if isinstance(error, OSError):
            raise UserError(
                f"{folder.parent} cannot be written ({error.strerror}): set XDG_CACHE_HOME to a folder that can."
            ) from error
        raise
    return folder
