"""What tracking costs: python benchmarks/bench_tracking.py [--pairs 2] [--tracker wandb] [OVERRIDE …]

Of the demo (or of what the overrides say): seconds from the start of the process to the first figure that the tracker is told, and
the processor time of whole runs with the tracker against those without, in pairs, one after the other in turn. Processor time is
that of the run and of the processes that it waits for, which a busy machine does not stretch as it does the clock. On a machine
whose caches others use too it still varies by some percent: of the tracked run there is also the processor time within the calls
that track, previews among them, and of W&B's own process.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parents[1]
DEMO = "+exp=articulation"
STARTED, FIRST, WITHIN = "QNERF_BENCH_STARTED", "first figure after ", "within tracking "


def run(overrides: list[str], tracker: str | None) -> tuple[float, list[str]]:
    """Processor seconds of one run in a new folder, and what `one` says of it."""
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
    return spent, [line for line in done.stdout.splitlines() if line.startswith((FIRST, WITHIN))]


def children() -> float:
    """Processor seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def one(overrides: list[str]) -> None:
    """In a process of its own: the run, which says when its first figure is told, and what the calls take that track."""
    from qnerf.consolidation import targets
    from qnerf.run import main
    from qnerf.runs.previews import Previews
    from qnerf.trackers.together import Guarded

    spent, depth, told = 0.0, 0, False

    def timed(real: Callable[..., Any], is_figure: bool = False) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            nonlocal spent, depth, told
            began, depth = time.process_time(), depth + 1
            try:
                return real(*given, **more)
            finally:
                depth -= 1
                spent += 0 if depth else time.process_time() - began
                if is_figure and not told:
                    told = True
                    print(f"{FIRST}{time.time() - float(os.environ[STARTED]):.2f} s, of the processor {time.process_time():.2f} s")

        return call

    for name in ("__init__", "log", "live", "image", "table", "file", "lineage", "finish"):
        setattr(Guarded, name, timed(getattr(Guarded, name), name == "live"))
    Previews.__call__ = timed(Previews.__call__)
    targets.tell_disagreement = timed(targets.tell_disagreement)
    sys.argv = [sys.argv[0], *overrides]
    main()
    before = children()
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()
    print(
        f"{WITHIN}{spent:.2f} s of {time.process_time():.1f} s, and {children() - before:.2f} s in a process of the tracker's own"
    )


def compare(overrides: list[str], tracker: str, pairs: int) -> None:
    """Prints a line a pair, and the mean."""
    shares = []
    for number in range(pairs):
        turns = [tracker, None] if number % 2 else [None, tracker]
        found = {turn: run(overrides, turn) for turn in turns}
        (plain, _), (tracked, said) = found[None], found[tracker]
        shares.append(tracked / plain - 1)
        print(f"pair {number + 1}: {plain:.1f} s without, {tracked:.1f} s with {tracker} ({shares[-1]:+.1%})")
        print("\n".join(f"  {line}" for line in said), flush=True)
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
