"""Hashes of plain data and of files, which name results, weights and artefacts."""

import hashlib
import json
from pathlib import Path
from typing import Any

LENGTH = 16
"""Hexadecimal digits of an identity: 64 bits."""


def digest(value: Any) -> str:
    """A hash of plain data (JSON types) that does not depend on the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def checksum(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
