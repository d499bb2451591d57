"""Files that are written whole or not at all: temporary name, flush to disk, rename. Nothing is ever pickled."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]  # (H, W, 3)


class DamagedFile(Exception):
    """A file that exists but does not hold what its name promises."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Calls `write` with a temporary path beside `path`, and gives the finished file its name only then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Flushes a folder's list of names to disk: a renamed file has its new name after a power cut too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def now_at(folder: Path) -> float:
    """The time by the clock that stamps files in a folder, seconds since the epoch: on a shared disk the server's, which may be
    minutes from this machine's. This machine's, where nothing can be written there."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def write_text(path: Path, text: str) -> None:
    """UTF-8 text."""
    write_whole(path, lambda temporary: void(temporary.write_text(text, encoding="utf-8")))


def write_json(path: Path, value: Any) -> None:
    """Plain data as indented JSON; not-a-number and infinities become null, since JSON has no word for them."""
    write_text(path, json.dumps(without_nan(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises DamagedFile if the text is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedFile(str(error)) from error


def write_image(path: Path, pixels: Pixels) -> None:
    """(H, W, 3) bytes as a PNG."""
    write_whole(path, lambda temporary: Image.fromarray(np.ascontiguousarray(pixels)).save(temporary, format="PNG"))


def read_image(path: Path) -> Pixels:
    """(H, W, 3) bytes. Raises DamagedFile if the file is no whole picture."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's plugins raise all three
        raise DamagedFile(str(error)) from error


def without_nan(value: Any) -> Any:
    """Plain data with every float that is not finite replaced by None."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def void(_: object) -> None:
    """Drops a value where a callback must return none."""
