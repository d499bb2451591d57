"""Which weights a backbone has, as a hash of the files that are loaded; nothing is loaded for it.

A folder of the embedded backbone is sealed when it is exported: `seal.json` holds that hash and the
world of the training, and files that were changed or damaged since are refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from qnerf.backbones.backbone import PARTS, BackboneSettings
from qnerf.backbones.puppet import DECODER_FOLDER, LOOSE_FOLDER, PuppetSettings
from qnerf.common.hashes import LENGTH, checksum
from qnerf.errors import UserError

SEAL = "seal.json"
KINDS = (".json", ".safetensors", ".txt", ".model")


def weights_revision(settings: BackboneSettings) -> str | None:
    """16 hex digits over all weights, tokens and schedules; none where they are not on this machine
    (yet)."""
    folders = settings.weights()
    return None if folders is None else _hash(folders)


def seal(folder: Path, world: int) -> None:
    """Writes the hash of an embedded backbone's folder into it. world: version of the procedural world
    that it was trained on."""
    revision = weights_revision(PuppetSettings(path=str(folder)))
    (folder / SEAL).write_text(json.dumps({"world": world, "revision": revision}, indent=2) + "\n", encoding="utf-8")


def check_seal(folder: Path, revision: str | None) -> None:
    """Raises UserError where a sealed folder's weights are not those that were exported. A folder
    without a seal is anybody's."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))["revision"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError):
        sealed = "unreadable"
    if sealed != revision:
        raise UserError(
            f"The weights in {folder} have revision {revision}, but {SEAL} says {sealed}: they have "
            "changed since they were exported. Reinstall the package or export them again; if you changed "
            "them yourself, delete that file."
        )


def _hash(folders: Iterable[Path]) -> str:
    digest, named = hashlib.sha256(), (*PARTS, LOOSE_FOLDER, DECODER_FOLDER)
    for folder in folders:
        if folder.is_file():
            digest.update(f"{_sha256(folder)}\n".encode())
        for path in sorted(p for p in folder.glob("*") if p.suffix in KINDS):
            digest.update(f"{folder.name if folder.name in named else 'controlnet'}/{path.name} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:LENGTH]


def _sha256(path: Path) -> str:
    """The hub's cache names large files by their SHA-256, which saves reading gigabytes."""
    real = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", real.name):
        return real.name
    status = real.stat()
    return _read_sha256(real, status.st_size, status.st_mtime_ns)


@cache
def _read_sha256(path: Path, size: int, changed: int) -> str:
    return checksum(path)
