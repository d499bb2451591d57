"""The folder of one run: its lock, the mark that says it is finished, and the note of a failure."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from socket import gethostname
from typing import Any, Literal

from filelock import FileLock, Timeout

from qnerf.common import files
from qnerf.errors import UserError, explain_lock

DONE, FAILED, CONFIG = "done", "failed.json", "config.yaml"
MADE_OF = ("commit", "weights", "date")  # what the mark of a finished run says of how it was made
PROGRESS = "progress.json"  # how far it is, while it works (`beat.py`)
LOCK, OWNER = ".lock", ".owner"  # held, and the holder's process and machine beside it: filelock may empty the lock's own file


@dataclass(frozen=True)
class RunState:
    """Where a run stands, as its folder tells. seconds: wall time of the attempt that finished. reason: of a failure. made: what
    a finished one says of `MADE_OF`."""

    status: Literal["done", "failed", "partial", "new"]
    seconds: float | None = None
    reason: str = ""
    made: Mapping[str, str] = field(default_factory=dict)


def state_of(path: Path) -> RunState:
    """The state of the run whose folder this is, or would be."""
    if (path / DONE).exists():
        mark = _read(path / DONE)
        return RunState("done", mark.get("seconds"), made={key: mark[key] for key in MADE_OF if mark.get(key)})
    if (path / FAILED).exists():
        return RunState("failed", reason=_read(path / FAILED).get("reason", "unknown"))
    return RunState("partial" if (path / CONFIG).exists() else "new")


def no_run(path: Path) -> str:
    """What a folder is that has no config, in place of a run's."""
    if not path.is_dir():
        return f"{path} {'is a file' if path.exists() else 'does not exist'}"
    return f"{path} is the folder of a sweep" if (path / "sweep.json").is_file() else f"{path} has no {CONFIG}"


def note_failure(path: Path, reason: str, trace: str = "") -> None:
    """Leaves the reason of a failure, and its traceback, in a run's folder, until it is run again."""
    files.write_json(path / FAILED, {"reason": reason, "traceback": trace.splitlines()})


def _read(path: Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except files.DamagedFile:
        return {}
    return found if isinstance(found, dict) else {}


class RunBusy(UserError):
    """Another process is at this very run: no failure of the run."""


class RunFolder:
    """outputs/<experiment>/<identity>/, written by one process at a time: a context manager that holds the lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path / LOCK)
        self._entered = time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether an earlier run has finished here."""
        return (self.path / DONE).exists()

    def mark_done(self, commit: str | None = None, weights: str | None = None) -> None:
        """The last thing a run does; the mark holds the wall seconds since the folder was entered, the commit of the code, the
        weights' revision and today's date."""
        seconds = time.monotonic() - self._entered
        made = {"commit": commit, "weights": weights, "date": date.today().isoformat()}
        files.write_json(self.path / DONE, {"seconds": seconds, **made})

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            (self.path / OWNER).write_text(f"{os.getpid()} on {gethostname()}")
        except Timeout as error:
            raise RunBusy(
                f"{self.path}: process {self._owner()} is computing this run; wait for it, or set another output_dir=…"
            ) from error
        except (OSError, NotImplementedError) as error:
            self._lock.release()
            raise UserError(
                explain_lock(error, self.path, "output_dir")
                or f"{self.path}: the run folder cannot be created ({getattr(error, 'strerror', error)}); set another output_dir=…"
            ) from error
        (self.path / FAILED).unlink(missing_ok=True)
        self._entered = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        for name in (OWNER, PROGRESS):
            with suppress(OSError):
                (self.path / name).unlink()
        self._lock.release()  # after a crash the operating system lets go of it

    def _owner(self) -> str:
        try:
            return (self.path / OWNER).read_text().strip() or "unknown"
        except OSError:  # it has the lock, and has not written its name yet
            return "unknown"
