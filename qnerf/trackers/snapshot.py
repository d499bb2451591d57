"""The code that a run was made with, as one file for trackers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from qnerf.common.files import write_whole
from qnerf.common.hashes import LENGTH
from qnerf.common.places import configs

SOURCES = (".py", ".js", ".html", ".css", ".yaml")
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip: equal code makes equal files


def snapshot(place: Path) -> Path:
    """`place`/<hash>.zip with this package's sources and its conf/, written if it is not there. Its name says what is in it, so
    that runs of equal code share one."""
    path = place / f"{code_hash()}.zip"
    if not path.exists():
        write_whole(path, _write)
    return path


@cache
def code_hash() -> str:
    """16 hexadecimal digits over the names and contents of all sources."""
    hasher = hashlib.sha256()
    for name, path in _sources():
        hasher.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()[:LENGTH]


def _write(path: Path) -> None:
    with ZipFile(path, "w") as file:
        for name, source in _sources():
            file.writestr(ZipInfo(name, BEGINNING), source.read_bytes(), ZIP_DEFLATED)


def _sources() -> Iterator[tuple[str, Path]]:
    """Names in the zip, and files, in order."""
    for name, folder in (("qnerf", Path(__file__).parents[1]), ("conf", configs())):
        for path in sorted(folder.rglob("*")):
            if path.suffix in SOURCES and path.is_file():
                yield f"{name}/{path.relative_to(folder)}", path
