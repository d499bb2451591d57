"""The names of artefacts, and whether there is one: all that a sweep needs to know before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DONE = "done.json"  # an artefact's last file


@dataclass(frozen=True, order=True)
class Key:
    """Name of an artefact: the stage, and the hash of all that can change its result."""

    stage: str
    identity: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.identity}"


def folder_of(root: Path, key: Key) -> Path:
    """Where an artefact lies in a store, or would."""
    return root / key.stage / key.identity


def has_artefact(root: Path, key: Key) -> bool:
    """Whether a store has an artefact of this name; its bytes are not looked at."""
    return (folder_of(root, key) / DONE).is_file()
