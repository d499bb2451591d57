"""Which weights a backbone has, as a hash of the files that `load_backbone` reads; nothing is loaded for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from qnerf.backbones.settings import PUPPET_FOLDER, BackboneSettings, PuppetSettings

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
KINDS = (".json", ".safetensors", ".txt", ".model")


def weights_revision(settings: BackboneSettings) -> str | None:
    """16 hex digits over all weights, tokens and schedules; none where they are not on this machine (yet)."""
    if isinstance(settings, PuppetSettings):
        folder = Path(settings.path).expanduser() if settings.path else PUPPET_FOLDER
        found = [*_parts(folder), folder / "controlnet"]
        return _hash(found) if (folder / "unet" / "config.json").is_file() else None
    model, net = (_folder(name) for name in (settings.model, settings.controlnet))
    return _hash([*_parts(model), net]) if model is not None and net is not None else None


def _folder(name: str) -> Path | None:
    """The folder of a model: itself, or the snapshot in the hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download  # half a second, and only those who name a model by its id pay
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _parts(folder: Path) -> list[Path]:
    return [folder / part for part in PARTS]


def _hash(folders: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.glob("*") if p.suffix in KINDS):
            digest.update(f"{folder.name if folder.name in PARTS else 'controlnet'}/{path.name} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _sha256(path: Path) -> str:
    """The hub's cache names large files by their SHA-256, which saves reading gigabytes."""
    real = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    status = real.stat()
    return _read_sha256(real, status.st_size, status.st_mtime_ns)


@cache
def _read_sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
