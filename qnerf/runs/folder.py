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

    def __init__(self, path: Path, prefix: str = "") -> None:
        self.path = path
        self.prefix = prefix

    def inside(self, name: str) -> "ArtefactStore":
        """A store in a folder of this one."""
        return ArtefactStore(self.path / name)

    def named(self, prefix: str) -> "ArtefactStore":
        """This store, for names that all begin with `prefix`."""
        return ArtefactStore(self.path, prefix)

    def remove(self, prefix: str) -> None:
        """Drops the tensors whose names begin with `prefix`."""
        for path in self.path.glob(f"{prefix}*.safetensors"):
            path.unlink(missing_ok=True)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """The tensors saved as `name`, or none where there are none or their file is damaged (with a warning)."""
        return self._read(self.path / f"{self.prefix}{name}.safetensors", files.read_tensors)

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Keeps tensors as `name`.safetensors."""
        files.write_tensors(self.path / f"{self.prefix}{name}.safetensors", tensors)

    def load_json(self, name: str) -> Any | None:
        """The plain data saved as `name`, or none where there is none or its file is damaged (with a warning)."""
        return self._read(self.path / f"{self.prefix}{name}.json", files.read_json)

    def save_json(self, name: str, value: Any) -> None:
        """Keeps plain data as `name`.json."""
        files.write_json(self.path / f"{self.prefix}{name}.json", value)

    def tensors(self, name: str, compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of `name`.safetensors, from the file if it is whole, else computed and stored."""
        found = self.load(name)
        if found is None:
            found = compute()
            self.save(name, found)
        return found

    @staticmethod
    def _read(path: Path, read: Callable[[Path], T]) -> T | None:
        if not path.exists():
            return None
        try:
            value = read(path)
        except files.DamagedFile as error:
            log.warning("%s is damaged (%s): it is computed again.", path, str(error).splitlines()[0])
            return None
        log.info("reusing %s", path)
        return value


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
