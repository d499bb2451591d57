"""Files that are written whole or not at all: temporary name, flush to disk, rename. Nothing is ever pickled."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

T = TypeVar("T")

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
    finally:
        temporary.unlink(missing_ok=True)


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


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A flat dictionary of tensors as safetensors."""
    # Copies: safetensors refuses tensors that share memory, as views of one another do.
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_whole(path, lambda temporary: void(save_file(plain, temporary)))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises DamagedFile if the file is truncated or not safetensors."""
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
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
