"""What a method does, in a sentence for a reader of its report: what the files of its choices in conf/ say of themselves."""

from __future__ import annotations

from pathlib import Path

from qnerf.common.descriptions import describe_choice
from qnerf.composing.compose import CONFIGS
from qnerf.config import MethodSettings


def about(method: MethodSettings) -> str:
    """A method by its schedule, and by its guidance and editor where they have a part in it."""
    parts = [_said("schedule", method.schedule.name)]
    if method.schedule.consolidates:
        parts.append(_said("guidance", method.guidance.name))
    if method.editor is not None and method.schedule.edits:
        parts.append(f"editor {_names(method)}")
    return "; ".join(part for part in parts if part) + "."


def _said(group: str, name: str) -> str:
    """The first sentence of a choice's file, or its name where an installed package has the file."""
    path: Path = CONFIGS / group / f"{name}.yaml"
    return f"{group}={name}: {describe_choice(path)}" if path.is_file() else f"{group}={name}"


def _names(method: MethodSettings) -> str:
    assert method.editor is not None
    return " with ".join(part.name for part in method.editor.parts)
