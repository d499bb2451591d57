"""One artefact on disk: a folder of safetensors, JSON and PNG files beside a done mark that knows their checksums.

The folder is filled under a temporary name and renamed when every byte is on disk, so under its own name it is whole; the
checksums tell a disk's later damage. Nothing is ever unpickled.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from qnerf.common import files
from qnerf.common.files import DamagedFile, Pixels
from qnerf.common.hashes import checksum
from qnerf.common.tensors import read_tensors, write_tensors
from qnerf.store.key import DONE

TENSORS, RECORD = "tensors.safetensors", "record.json"
TEMPORARY = ".partial-"


@dataclass(frozen=True)
class Artefact:
    """What a stage leaves. record: plain data. pictures: (H, W, 3) bytes by file name. seconds: what it took to compute."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    record: Any = None
    pictures: dict[str, Pixels] = field(default_factory=dict)
    seconds: float = 0.0


def write_entry(folder: Path, artefact: Artefact) -> None:
    """Writes an artefact whole or not at all; one that is there already, whole or damaged, makes way."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{folder.name}-", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        _fill(temporary, artefact)
        discard(folder)
        temporary.rename(folder)
        files.sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, artefact: Artefact) -> None:
    """The done mark is the last file, and names all others."""
    if artefact.tensors:
        write_tensors(folder / TENSORS, artefact.tensors)
    if artefact.record is not None:
        files.write_json(folder / RECORD, artefact.record)
    for name, pixels in artefact.pictures.items():
        files.write_image(folder / name, pixels)
    sums = {path.name: checksum(path) for path in sorted(folder.iterdir())}
    size = sum(path.stat().st_size for path in folder.iterdir())
    files.write_json(folder / DONE, {"sha256": sums, "bytes": size, "seconds": artefact.seconds, "written": time.time()})


def read_entry(folder: Path) -> Artefact | None:
    """The artefact, or none where there is none. Raises DamagedFile where a file is missing or not as it was written."""
    if not folder.exists():
        return None
    mark = verify(folder)
    names = set(mark["sha256"])
    return Artefact(
        tensors=read_tensors(folder / TENSORS) if TENSORS in names else {},
        record=files.read_json(folder / RECORD) if RECORD in names else None,
        pictures={name: files.read_image(folder / name) for name in sorted(names) if name.endswith(".png")},
        seconds=float(mark["seconds"]),
    )


def verify(folder: Path) -> dict[str, Any]:
    """The done mark of an entry whose files are all as they were written. Raises DamagedFile."""
    mark = files.read_json(folder / DONE)
    if not isinstance(mark, dict) or not {"sha256", "bytes", "seconds"} <= set(mark):
        raise DamagedFile(f"{folder / DONE} does not hold what its name promises")
    for name, expected in mark["sha256"].items():
        try:
            found = checksum(folder / name)
        except OSError as error:
            raise DamagedFile(f"{folder / name} cannot be read ({error.strerror})") from error
        if found != expected:
            raise DamagedFile(f"{folder / name} has changed since it was written")
    return mark


def discard(folder: Path) -> None:
    """Removes an entry, from its name first, so that nobody finds half of it."""
    if not folder.exists():
        return
    trash = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}{folder.name}-", dir=folder.parent))
    try:
        with suppress(FileNotFoundError):  # another process was faster
            folder.rename(trash)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # A folder of a container's image cannot be renamed. Without its mark it is no entry.
        (folder / DONE).unlink(missing_ok=True)
        shutil.rmtree(folder)
    shutil.rmtree(trash, ignore_errors=True)


def touch(folder: Path) -> None:
    """Notes that the entry was used now: what was used longest ago is dropped first."""
    try:
        os.utime(folder / DONE)
    except OSError:  # a store that may only be read, or an entry that has just been dropped
        return
