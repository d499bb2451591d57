"""A folder of one's own drawings, an image for each view. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from qnerf.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")


def drawing_files(folder: str | None, key: str) -> dict[str, Path]:
    """The images of a folder by their names without extension. Raises UserError where there is no such folder."""
    if folder is None:
        raise UserError(f"{key}: no value given, but a control is drawn from images; set {key}=… to their folder")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"{key}: {path} is not a folder; set it to one with a drawing for each view")
    return {file.stem: file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES}
