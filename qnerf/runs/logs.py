"""Where the messages of a run go: the terminal, run.log in its folder, and (warnings) the report."""

import logging
import logging.handlers
from pathlib import Path
from types import TracebackType

from rich.console import Console

CONSOLE = Console(stderr=True)  # shared with the progress bar, so that lines scroll above it


class ConsoleHandler(logging.Handler):
    """Plain lines on the terminal, never wrapped, never styled by what they contain."""

    def emit(self, record: logging.LogRecord) -> None:
        CONSOLE.print(self.format(record), markup=False, highlight=False, soft_wrap=True)


class RunLog:
    """Logging of one run. Lines before the run folder is known are kept, and written to run.log when it is."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._memory = logging.handlers.MemoryHandler(10_000, flushLevel=logging.CRITICAL + 1)
        self._console = ConsoleHandler()
        self._console.setFormatter(logging.Formatter("%(message)s"))
        self._collector = _Collector(self.warnings)
        self._file: logging.FileHandler | None = None

    def attach(self, folder: Path) -> None:
        """From now on also to run.log in `folder`."""
        self._file = _LogFile(folder / "run.log", encoding="utf-8")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._memory.setTarget(self._file)
        self._memory.flush()
        logger = logging.getLogger("qnerf")
        logger.removeHandler(self._memory)
        logger.addHandler(self._file)

    def __enter__(self) -> "RunLog":
        logger = logging.getLogger("qnerf")
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in (self._memory, self._console, self._collector):
            logger.addHandler(handler)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        logger = logging.getLogger("qnerf")
        if error is not None and self._file is not None:
            text = f"{kind.__name__ if kind else 'error'}: {error}"
            self._file.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, text, (), None))
        for handler in (self._memory, self._console, self._collector, self._file):
            if handler is not None:
                logger.removeHandler(handler)
                handler.close()
        logger.propagate = True


class _LogFile(logging.FileHandler):
    """A log that a full disk cuts short: the stage that cannot write either says so, in one sentence."""

    def handleError(self, record: logging.LogRecord) -> None:
        return None


class _Collector(logging.Handler):
    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record.getMessage())
