"""The artefact store: the result of every stage under its identity, computed once by whichever process comes first.

`<root>/<stage>/<identity>/` holds an artefact (`entry.py`), `<root>/locks/` a lock for each that was ever computed. The locks
are the operating system's (flock, by way of filelock), so that a process that dies lets go of its locks at once; filelock
is kept rather than written again for its way with shared folders and with file systems that have no flock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from qnerf.common.files import DamagedFile
from qnerf.errors import UserError, explain_lock
from qnerf.store.entry import Artefact, discard, read_entry, touch, write_entry
from qnerf.store.key import Key, folder_of, has_artefact

log = logging.getLogger(__name__)

LOCKS = "locks"
POLL = 0.2  # seconds between two looks at a lock that another process holds


class Store:
    """Artefacts by key. root: its folder, which several processes and machines may share."""

    def __init__(self, root: Path, max_bytes: float | None = None) -> None:
        self.root = root
        self.max_bytes = max_bytes

    def folder(self, key: Key) -> Path:
        """Where an artefact lies, or would."""
        return folder_of(self.root, key)

    def has(self, key: Key) -> bool:
        """Whether there is an artefact of this name; its bytes are not looked at."""
        return has_artefact(self.root, key)

    def load(self, key: Key) -> Artefact | None:
        """The artefact, or none where there is none or it is damaged (with a warning)."""
        folder = self.folder(key)
        try:
            found = read_entry(folder)
        except DamagedFile as error:
            if folder.exists():  # else it was dropped while it was being read
                log.warning("%s is damaged (%s): computing it again.", folder, str(error).splitlines()[0])
            return None
        if found is not None:
            touch(folder)
            log.info("reusing %s", folder)
        return found

    def once(self, key: Key, compute: Callable[[], Artefact]) -> Artefact:
        """The artefact: from the store, or computed and kept. Of several processes one computes, the others wait for it."""
        found = self.load(key)
        if found is not None:
            return found
        with self.lock(key):
            found = self.load(key) if self.has(key) else None  # another process may have finished it meanwhile
            if found is None:
                log.info("computing %s", key)
                started = time.monotonic()
                found = compute()
                found = replace(found, seconds=found.seconds or time.monotonic() - started)
                write_entry(self.folder(key), found)
        if self.max_bytes is not None:
            from qnerf.store.prune import prune  # prune needs the store

            prune(self, self.max_bytes, keep={key})
        return found

    def drop(self, key: Key) -> None:
        """Removes an artefact."""
        discard(self.folder(key))

    @contextmanager
    def lock(self, key: Key) -> Iterator[None]:
        """Held while an artefact is computed; waits for another process that holds it, and says so."""
        lock = self.lock_of(key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s is being computed by another process: waiting for it (lock %s).", key, lock.lock_file)
            lock.acquire()
        except (OSError, NotImplementedError) as error:
            if sentence := explain_lock(error, self.root, "store.path"):
                raise UserError(sentence) from error
            raise
        try:
            yield
        finally:
            lock.release()

    def lock_of(self, key: Key) -> FileLock:
        """The lock of an artefact. Its file stays: removed, two processes could hold two locks of one name."""
        path = self.root / LOCKS / f"{key.stage}-{key.identity}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, poll_interval=POLL)
