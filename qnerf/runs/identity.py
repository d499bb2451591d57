"""What a run is, as a short hash: runs with one identity have one result, so the second need not be computed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import qnerf
from qnerf.config import RunSettings

# Settings that cannot change a result. The scene's and the backbone's contents are hashed in place of their paths.
WITHOUT_EFFECT = ("experiment", "device", "chunk_size", "output_dir", "tracker")
CODE_WITHOUT_EFFECT = ("pretrain", "trackers", "reports", "procedural")
LENGTH = 16


def identity(settings: RunSettings, scene_fingerprint: str, backbone_revision: str, code_version: str) -> str:
    """The identity of a run: 16 hexadecimal digits over everything that can change its result."""
    return digest([effective_settings(settings), scene_fingerprint, backbone_revision, code_version])


def effective_settings(settings: RunSettings) -> dict[str, Any]:
    """The settings that can change a result, as plain data."""
    kept: dict[str, Any] = settings.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))
    for part in ("scene", "backbone"):
        kept[part].pop("path", None)
    return kept


def digest(value: Any) -> str:
    """A hash of plain data (JSON types) that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def hash_code() -> str:
    """A hash of the sources that take part in a result: a changed method never reuses an old one's artefacts."""
    root = Path(qnerf.__file__).parent
    hasher = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if not set(path.relative_to(root).parts) & set(CODE_WITHOUT_EFFECT):
            hasher.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return hasher.hexdigest()[:LENGTH]
