"""Where a scene lies, and the hash of all its files: known before anything is read into tensors."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qnerf.common.places import resolve
from qnerf.scenes.on_demand import ensure_written, is_procedural
from qnerf.scenes.readers.reader import reader_of


def scene_folder(path: str) -> Path:
    """The folder that a scene's path names; `asset:<name>` is a scene that ships with the package, `procedural:<kind>_<seed>`
    one of the procedural world, which is written at need."""
    if is_procedural(path):
        return ensure_written(path)
    return resolve(path, "scene.path", "scenes").resolve()


def home_of(path: Path) -> Path:
    """The folder of a scene, whose path may also be that of its file of frames."""
    return path.parent if path.is_file() else path


def proxy_file(folder: Path, proxy: Path | str | None) -> Path:
    """The file of a scene's 3-D proxy: the one that is named (`scene.proxy`; `asset:<name>.json` ships with the package), or the
    scene folder's own, which need not be there. Raises UserError where no asset has this name."""
    return folder / "proxy.json" if proxy is None else resolve(proxy, "scene.proxy", "proxies")


def scene_fingerprint(folder: Path | str, proxy: Path | str | None = None, reader: str | None = None) -> str:
    """A SHA-256 over the names and bytes of all that `read_scene` reads: a folder, and a proxy file beside it. reader: the chosen
    one (`scene.reader`)."""
    folder = Path(folder)
    how = reader_of(folder, reader)
    _, frames = how.read(folder)
    paths = [*how.files(folder), *(frame.image for frame in frames if frame.exists and frame.pixels is None)]
    paths += dict.fromkeys(file for frame in frames for file in (frame.mask_file, frame.depth) if isinstance(file, Path))
    folder = home_of(folder) if how.posed else folder
    proxy_path = proxy_file(folder, proxy)
    paths += [proxy_path] if proxy_path.is_file() else []
    paths += sorted(path for path in (folder / "truth").rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
