"""Which of a capture's images are its views: all, some spread evenly, every k-th, the farthest apart in direction, or named ones.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.focus import PARALLEL, optical_axes
from qnerf.scenes.settings import Views


def chosen_views(wanted: Views, names: Sequence[str], least: int, origin: Path | str, poses: np.ndarray | None) -> list[int]:
    """Indices, ascending, of the images that are used. names: of all images that are there. least: how many a scene has at least.
    origin: for messages. poses: (N, 4, 4) camera to world; None: the images have no cameras.

    Raises UserError where the images cannot be chosen so.
    """
    count = len(names)
    if isinstance(wanted, tuple):
        missing = [name for name in wanted if name not in names]
        if missing:
            raise UserError(
                f"scene.views names {', '.join(missing[:3])[:100]}{', …' * (len(missing) > 3)}, but {origin} has no such "
                f"views, expected some of {', '.join(names[:3])[:100]}, …: correct the names (in quotes, where they begin with 0)."
            )
        return [index for index, name in enumerate(names) if name in wanted]
    kind, number = ("evenly", wanted or count) if not isinstance(wanted, str) else _parts(wanted)
    found = -(-count // number) if kind == "every" else number
    if found > count:
        raise UserError(f"scene.views is {wanted}, but {origin} has {count} images: set it to at most this number.")
    if found < least:
        raise UserError(f"scene.views is {wanted}, which leaves {found} of the {count} images of {origin}, expected {least}.")
    if kind == "every":
        return list(range(0, count, number))
    if kind == "evenly":
        return spread_evenly(count, number)
    if poses is None:
        raise UserError(f"scene.views is {wanted}, but the images of {origin} have no cameras: give a number or names of images.")
    return farthest(poses, number)


def _parts(wanted: str) -> tuple[str, int]:
    kind, _, number = wanted.partition(":")
    return kind, int(number)


def spread_evenly(count: int, wanted: int | None) -> list[int]:
    """Indices of `wanted` of `count` views, evenly spread without taking both ends of a closed orbit."""
    return list(range(count)) if wanted is None else [index * count // wanted for index in range(wanted)]


def farthest(poses: np.ndarray, wanted: int) -> list[int]:
    """Farthest-point sampling (Gonzalez 1985) of the directions in which poses (N, 4, 4) lie from the point where their axes meet;
    of parallel axes, of their places: the first, then each time the one whose nearest chosen one is farthest. Ascending indices."""
    axes, places = optical_axes(poses), poses[:, :3, 3]
    if axes.spread > PARALLEL:
        away = places - axes.focus
        places = away / np.linalg.norm(away, axis=1, keepdims=True).clip(1e-300)
    chosen, nearest = [0], np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < wanted:
        nearest[chosen] = -1.0  # views at one place are taken once each
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return sorted(chosen)
