"""Reading a scene finds what is wrong with all of it before it gives up: each problem is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qnerf.errors import UserError

WORLDS = (1, 2)
"""Versions of the procedural world whose files are read; no key is version 1."""

LONGEST = 600  # characters of a message
FARTHEST = 1e15  # world units: farther off, not even float64 tells neighbouring points apart
_SHOWN = 8
_LONGEST_VALUE = 60


def raise_problems(where: str, problems: list[str]) -> None:
    """Raise one UserError that names every problem (the first ones that fit, and how many more); none, no
    error."""
    problems = list(dict.fromkeys(problems))  # what is wrong with the whole file is found once a frame
    if not problems:
        return
    if len(problems) == 1:
        raise UserError(_cut(problems[0], LONGEST))
    lines = [f"{len(problems)} problems in {brief(where, 200)}:"]
    for index, problem in enumerate(problems):
        said = next((problem.removeprefix(f"{where}{end}") for end in "/: " if problem.startswith(f"{where}{end}")), problem)
        line = _cut(f"- {said.removeprefix(' ')}", 240)
        if index == _SHOWN or len("\n".join([*lines, line])) > LONGEST - 50:
            lines.append(f"- and {len(problems) - index} more of the same kinds.")
            break
        lines.append(line)
    raise UserError("\n".join(lines))


def brief(value: Any, longest: int = _LONGEST_VALUE) -> str:
    """A value of somebody's file in a message: short, printable, one line; text as it is, anything else as
    Python writes it."""
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else repr(text)[1:-1]
    return text if len(text) <= longest else f"{text[: longest - 20]}…{text[-19:]}"


def quoted(value: Any) -> str:
    """As `brief`, with quotation marks about text."""
    return repr(brief(value)) if isinstance(value, str) else brief(value)


def as_array(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """A float64 array of this shape, None where the value is anything else, not finite, or beyond
    `FARTHEST`."""
    try:
        if _has_text(value):  # NumPy reads "1" and true as numbers
            return None
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if array.shape == shape and (np.abs(array) <= FARTHEST).all() else None


def _has_text(value: Any) -> bool:
    """Whether a number of nested lists is a text or a truth value."""
    return any(map(_has_text, value)) if isinstance(value, list | tuple) else isinstance(value, str | bool)


def check_world(path: Path, document: dict[str, Any], problems: list[str]) -> None:
    """Add a problem where a file is of a version of the procedural world that this program does not know."""
    world = document.get("world", 1)
    if world not in WORLDS:
        known = ", ".join(map(str, WORLDS))
        problems.append(f"{path} has world = {quoted(world)}, expected one of {known}: update qnerf or build the scene again.")


def _cut(text: str, longest: int) -> str:
    """A sentence whose beginning (the file) and end (what to do) stay, where it is too long."""
    return text if len(text) <= longest else f"{text[: longest * 2 // 3 - 1]}…{text[-(longest // 3) :]}"
