"""Where a scene lies: a folder of the user's, or one that ships with the package."""

from pathlib import Path

from qnerf.errors import UserError

ASSETS = Path(__file__).parents[1] / "assets" / "scenes"


def scene_folder(path: str) -> Path:
    """The folder that a scene's path names; `asset:<name>` is a scene that ships with the package."""
    if not path.startswith("asset:"):
        return Path(path).expanduser().resolve()
    folder = ASSETS / path.removeprefix("asset:")
    if not folder.is_dir():
        there = ", ".join(sorted(entry.name for entry in ASSETS.glob("*") if entry.is_dir())) or "none"
        raise UserError(f"scene.path is {path!r}, expected one of the shipped scenes ({there}): name one of them.")
    return folder
