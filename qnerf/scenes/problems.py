"""Reading a scene finds what is wrong with all of it before it gives up: each problem is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qnerf.errors import UserError

WORLDS = (1, 2)
"""Versions of the procedural world whose files are read; no key is version 1."""

_SHOWN = 8


def raise_problems(where: str, problems: list[str]) -> None:
    """Raise one UserError that names every problem (the first eight, and how many more); none, no error."""
    problems = list(dict.fromkeys(problems))  # what is wrong with the whole file is found once a frame
    if not problems:
        return
    if len(problems) == 1:
        raise UserError(problems[0])
    lines = [f"{len(problems)} problems in {where}:", *(f"- {problem}" for problem in problems[:_SHOWN])]
    if len(problems) > _SHOWN:
        lines.append(f"- and {len(problems) - _SHOWN} more of the same kinds.")
    raise UserError("\n".join(lines))


def check_world(path: Path, document: dict[str, Any], problems: list[str]) -> None:
    """Add a problem where a file is of a version of the procedural world that this program does not know."""
    world = document.get("world", 1)
    if world not in WORLDS:
        known = ", ".join(map(str, WORLDS))
        problems.append(f"{path} has world = {world!r}, expected one of {known}: update qnerf or build the scene again.")
