"""The folder of one run: its lock, its artefacts, and the mark that says it is finished."""

import fcntl
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from torch import Tensor

from qnerf.errors import UserError
from qnerf.runs import files

log = logging.getLogger(__name__)

T = TypeVar("T")
DONE = "done"


class ArtefactStore:
    """Results of stages, kept as files: each is computed once, and again only if its file is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of `name`.safetensors, from the file if it is whole, else computed and stored."""
        return self._artefact(self.path / f"{name}.safetensors", compute, files.read_tensors, files.write_tensors)

    def json(self, name: str, compute: Callable[[], Any]) -> Any:
        """The plain data of `name`.json, from the file if it is whole, else computed and stored."""
        return self._artefact(self.path / f"{name}.json", compute, files.read_json, files.write_json)

    def has(self, name: str) -> bool:
        """Whether a file of this name (with its suffix) is there, whole or not."""
        return (self.path / name).exists()

    def _artefact(
        self, path: Path, compute: Callable[[], T], read: Callable[[Path], T], write: Callable[[Path, T], None]
    ) -> T:
        if path.exists():
            try:
                value = read(path)
                log.info("reusing %s", path)
                return value
            except files.DamagedFile as error:
                log.warning("%s is damaged (%s): it is computed again.", path, str(error).splitlines()[0])
        write(path, compute())
        # Read back even when fresh, so that a resumed run goes on from exactly the same values.
        return read(path)


class RunFolder(ArtefactStore):
    """outputs/<experiment>/<identity>/, written by one process at a time: a context manager that holds the lock."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock: IO[str] | None = None

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has finished here."""
        return (self.path / DONE).exists()

    def mark_done(self) -> None:
        """The last thing a run does."""
        files.write_text(self.path / DONE, "")

    def __enter__(self) -> "RunFolder":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise UserError(
                f"{self.path}: the run folder cannot be made ({error.strerror}); choose another with output_dir=…"
            ) from error
        self._take_lock(self._lock)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()  # the operating system lets go of the lock with the file, after a crash too
            self._lock = None

    def _take_lock(self, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise UserError(
                f"{self.path}: process {owner} is running this very run; wait for it, or choose another output_dir=…"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
