"""Keeping the store small: what is in it, what is whole, and what was used longest ago."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import Timeout

from qnerf.common.files import DamagedFile, now_at
from qnerf.store.entry import TEMPORARY, verify
from qnerf.store.key import DONE, Key
from qnerf.store.store import Store

ABANDONED_AFTER = 3600.0  # seconds without a write after which an unfinished folder is a dead process's


@dataclass(frozen=True)
class Kept:
    """One artefact of the store. used: seconds since the epoch."""

    key: Key
    bytes: int
    used: float


def entries(store: Store) -> list[Kept]:
    """Every artefact, that used longest ago first."""
    return sorted(_entries(store), key=lambda kept: (kept.used, kept.key))


def _entries(store: Store) -> Iterator[Kept]:
    for mark in store.root.glob(f"*/*/{DONE}"):
        if mark.parent.name.startswith(TEMPORARY):
            continue
        try:
            size = sum(path.stat().st_size for path in mark.parent.iterdir())
            yield Kept(Key(mark.parent.parent.name, mark.parent.name), size, mark.stat().st_mtime)
        except FileNotFoundError:  # dropped by another process just now
            continue


def damaged(store: Store) -> Iterator[tuple[Key, str]]:
    """Every artefact that is not as it was written, and why. Reads the whole store."""
    for folder in sorted(store.root.glob("*/*")):
        if not folder.is_dir() or folder.name.startswith(TEMPORARY):
            continue
        try:
            verify(folder)
        except DamagedFile as error:
            yield Key(folder.parent.name, folder.name), str(error).splitlines()[0]


def prune(store: Store, max_bytes: float, keep: Collection[Key] = ()) -> list[Kept]:
    """Drops what was used longest ago until no more than max_bytes are left; returns what was dropped.

    keep: never dropped. Nor is what is being computed, since its lock is held.
    """
    _sweep_abandoned(store)
    found, dropped = entries(store), []
    total = sum(kept.bytes for kept in found)
    for kept in found:
        if total <= max_bytes:
            break
        if kept.key not in keep and _drop_if_free(store, kept.key):
            dropped.append(kept)
            total -= kept.bytes
    return dropped


def _drop_if_free(store: Store, key: Key) -> bool:
    lock = store.lock_of(key)
    try:
        with lock.acquire(timeout=0):
            store.drop(key)
    except (Timeout, NotImplementedError):  # computed just now, or a file system without locks
        return False
    return True


def _sweep_abandoned(store: Store) -> None:
    """Removes what processes that died in the middle of a write have left."""
    found = list(store.root.glob(f"*/{TEMPORARY}*"))
    now = now_at(store.root) if found else 0.0
    for folder in found:
        if now - _last_write(folder, now) > ABANDONED_AFTER:
            shutil.rmtree(folder, ignore_errors=True)


def _last_write(folder: Path, now: float) -> float:
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:
        return now
