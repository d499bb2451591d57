"""Where a scene lies, and the hash of all its files: known before anything is read into tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qnerf.errors import UserError
from qnerf.scenes.on_demand import ensure_written, is_procedural
from qnerf.scenes.readers.reader import reader_of

ASSETS = Path(__file__).parents[1] / "assets" / "scenes"


def scene_folder(path: str) -> Path:
    """The folder that a scene's path names; `asset:<name>` is a scene that ships with the package, `procedural:<kind>_<seed>`
    one of the procedural world, which is written at need."""
    if is_procedural(path):
        return ensure_written(path)
    if not path.startswith("asset:"):
        return Path(path).expanduser().resolve()
    folder = ASSETS / path.removeprefix("asset:")
    if not folder.is_dir():
        there = ", ".join(sorted(entry.name for entry in ASSETS.glob("*") if entry.is_dir())) or "none"
        raise UserError(f"scene.path is {path!r}, expected one of the shipped scenes ({there}): choose one of them.")
    return folder


def scene_fingerprint(folder: Path | str, proxy: Path | str | None = None, reader: str | None = None) -> str:
    """A SHA-256 over the names and bytes of all that `read_scene` reads: a folder, and a proxy file beside it. reader: the chosen
    one (`scene.reader`)."""
    folder = Path(folder)
    how = reader_of(folder, reader)
    _, frames = how.read(folder)
    paths = [*how.files(folder), *(frame.image for frame in frames if frame.exists)]
    proxy_path = folder / "proxy.json" if proxy is None else Path(proxy).expanduser()
    paths += [proxy_path] if proxy_path.is_file() else []
    paths += sorted(path for path in (folder / "truth").rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
