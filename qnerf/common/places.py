"""Where files of the package lie, in a checkout and in an installed copy alike."""

from __future__ import annotations

from pathlib import Path

from qnerf.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
ASSETS = PACKAGE / "assets"
ASSET = "asset:"


def configs() -> Path:
    """The folder of the configs: `conf` at the top of a checkout, and inside the package where it is installed (the wheel maps
    it there)."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def resolve(path: str | Path, key: str, folder: str = "") -> Path:
    """The file or folder that a setting names. `asset:<name>` is one that ships with the package, in its assets or in a folder
    of these; any other path is the user's own, seen from the working folder.

    key: the setting's name. Raises UserError where no asset has this name.
    """
    text = str(path)
    if not text.startswith(ASSET):
        return Path(path).expanduser()
    found = ASSETS / folder / text.removeprefix(ASSET)
    if not found.exists():
        there = ", ".join(sorted(ASSET + entry.name for entry in (ASSETS / folder).iterdir()))
        raise UserError(f"{key} is {text!r}; expected one that ships with the package ({there}), or a path of your own")
    return found
