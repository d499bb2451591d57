"""What tracking costs: python benchmarks/bench_tracking.py [--pairs 2] [--tracker wandb] [OVERRIDE …]

Of the demo (or of what the overrides say): seconds from the start of the process to the first figure that the tracker is told, and
the processor time of whole runs with the tracker against those without, in pairs, one after the other in turn. Processor time is
that of the run and of the processes that it waits for, which a busy machine does not stretch as it does the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parents[1]
DEMO = "+exp=articulation"
STARTED, FIRST = "QNERF_BENCH_STARTED", "first figure after "


def run(overrides: list[str], tracker: str | None) -> tuple[float, str]:
    """Processor seconds of one run in a new folder; and to its first figure at the tracker the seconds by the clock and those of
    the processor."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*overrides, f"output_dir={folder}", *([f"tracker={tracker}"] if tracker else [])]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, __file__, "--one", *words], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), STARTED: str(time.time())},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return spent, next((line.removeprefix(FIRST) for line in done.stdout.splitlines() if line.startswith(FIRST)), "none")


def one(overrides: list[str]) -> None:
    """In a process of its own: the run, which says when its first figure is told."""
    from qnerf.run import main
    from qnerf.trackers.together import Guarded

    real, told = Guarded.live, []

    def live(self: Guarded, values: Mapping[str, float], seconds: float) -> None:
        real(self, values, seconds)
        if not told:
            told.append(True)
            print(f"{FIRST}{time.time() - float(os.environ[STARTED]):.2f} {time.process_time():.2f}", flush=True)

    Guarded.live = live
    sys.argv = [sys.argv[0], *overrides]
    main()


def compare(overrides: list[str], tracker: str, pairs: int) -> None:
    """Prints a line a pair, and the mean."""
    shares = []
    for number in range(pairs):
        turns = [tracker, None] if number % 2 else [None, tracker]
        found = {turn: run(overrides, turn) for turn in turns}
        (plain, _), (tracked, first) = found[None], found[tracker]
        shares.append(tracked / plain - 1)
        print(f"pair {number + 1}: {plain:.1f} s without, {tracked:.1f} s with {tracker} ({shares[-1]:+.1%})")
        print(f"  first figure after {first} s, clock and processor")
    print(f"mean of {pairs}: {mean(shares):+.1%}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--pairs", type=int, default=2)
        parser.add_argument("--tracker", default="wandb")
        options, left = parser.parse_known_args()
        compare(left or [DEMO], options.tracker, options.pairs)
