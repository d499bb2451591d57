"""ControlNet with the target control alone."""

from __future__ import annotations

from typing import Literal

from qnerf.editors.editor import Editor, EditorSettings


class PlainEditorSettings(EditorSettings):
    """Only the starting noise comes from the source."""

    name: Literal["plain"]

    def build(self) -> Editor:
        return Editor(self)
