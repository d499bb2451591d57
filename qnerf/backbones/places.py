"""Where a model lies that the settings name: a folder, a single file, or a snapshot in the cache of the Hugging Face hub.
Needs no torch, and no network."""

from __future__ import annotations

import re
from pathlib import Path

from qnerf.backbones.weight_files import PICKLED
from qnerf.errors import UserError

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_place(name: str, revision: str | None = None) -> Path | None:
    """The folder or `.safetensors` file that a name means, or None for a hub id whose files are not in the cache.

    Raises UserError for a path that leads nowhere, and for a file of a kind that is not read.
    """
    if "://" in name:
        raise UserError(f"{name} is a web address: give the hub's id (<owner>/<name>), a folder, or a .safetensors file.")
    path = Path(name).expanduser()
    if path.is_dir():
        return _snapshot(path, revision)
    if path.is_file():
        if path.suffix in PICKLED:
            raise UserError(
                f"{path} is a pickled file, which can run any program and is not read: convert it once with "
                f"`qnerf weights import {path} <folder>` and give the file that this writes."
            )
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is not a .safetensors file: give one, or a folder in diffusers' layout.")
        return path
    if not is_hub_id(name):
        raise UserError(f"{path} does not exist: expected a folder in diffusers' layout, or a .safetensors file; correct the path.")
    return cached(name, revision)


def is_hub_id(name: str) -> bool:
    """Whether a name that no file has can mean a model on the hub."""
    return bool(_HUB_ID.fullmatch(name)) and not name.startswith((".", "~")) and Path(name).suffix not in (*PICKLED, ".safetensors")


def cached(name: str, revision: str | None) -> Path | None:
    """The snapshot of a hub id in the hub's cache, if there is one."""
    from huggingface_hub import snapshot_download  # half a second, and only those who name a model by its id pay
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _snapshot(folder: Path, revision: str | None) -> Path:
    """The folder itself, or the snapshot in a folder of the hub's cache, `models--<owner>--<name>`."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    reference = folder / "refs" / (revision or "main")
    name = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    there = sorted(child for child in snapshots.iterdir() if child.is_dir())
    chosen = [child for child in there if child.name == name] or (there if name is None and len(there) == 1 else [])
    if not chosen:
        raise UserError(
            f"{folder} is a folder of the hub's cache without the revision {name or 'main'} (it has "
            f"{', '.join(child.name for child in there) or 'none'}): set backbone.revision to one, or give the "
            "snapshot's folder."
        )
    return chosen[0]
