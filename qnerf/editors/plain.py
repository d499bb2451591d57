"""ControlNet with the target control alone."""

from __future__ import annotations

from typing import Literal

from qnerf.editors.editor import Editor, EditorSettings


class PlainEditorSettings(EditorSettings):
    """Nothing of the source but its starting noise acts."""

    name: Literal["plain"]

    def build(self) -> Editor:
        return Editor(self)
