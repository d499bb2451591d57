"""Tensors as files: safetensors, written whole or not at all, and never unpickled."""

from __future__ import annotations

import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from qnerf.common.files import DamagedFile, write_whole


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """A flat dictionary of tensors as safetensors."""
    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        whole = tensor.detach().cpu().contiguous()
        storage = whole.untyped_storage()
        if storage.nbytes() > whole.nbytes or storage.data_ptr() in taken:
            whole = whole.clone()  # safetensors refuses tensors that share memory, as views of one another do
        taken.add(whole.untyped_storage().data_ptr())
        plain[name] = whole
    write_whole(path, lambda temporary: _save(plain, temporary))


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    """safetensors wraps the system's errors; a full disk is to look the same whatever was being written."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Raises DamagedFile if the file is truncated or not safetensors."""
    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise DamagedFile(str(error)) from error
