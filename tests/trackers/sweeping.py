"""A sweep in a process of its own, in which one cell can be made to fail and another to be killed with the process:
`python -m tests.trackers.sweeping FAILING KILLED ARGUMENT …`, the first two of the form strength,interval,seed, or a dash."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from qnerf.config import RunSettings
from qnerf.runs import pipeline
from tests.sweeps.conftest import sweep


def main(failing: str, killed: str, arguments: list[str]) -> int:
    real = pipeline.measured

    def measured(settings: RunSettings, *rest: Any) -> Any:
        at = f"{settings.guidance.model_dump()['strength']},{settings.schedule.model_dump()['interval']},{settings.seed}"
        if at == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if at == failing:
            raise RuntimeError("made to fail")
        return real(settings, *rest)

    pipeline.measured = measured
    return sweep(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
