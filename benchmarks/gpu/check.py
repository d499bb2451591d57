"""Stage *check*: the tests marked `gpu`, those first that are likeliest to fail, until the stage's time is up.

At toy size the `cpu` variants of the same tests stand in for them; the others are collected and skip themselves.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from benchmarks.gpu.stage import Stage
from benchmarks.gpu.wheels import ROOT

WORST = ("triton", "graph", "compile", "deterministic", "guided_edit", "independent_edit", "field")
"""What a test's name has in it, the likeliest to fail first: kernels of our own, then captured graphs, then whole edits."""
TOY = ("encodings_and", "compositing", "independent_edit")  # of tests/test_on_gpu.py; the rest takes a minute on a CPU
OK, FAILED, STOPPED = pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED
RESERVE = 10.0  # seconds before the stage's end at which no other test is begun


def rank(nodeid: str) -> int:
    """The place of a test in the order."""
    return next((place for place, word in enumerate(WORST) if word in nodeid.lower()), len(WORST))


def stands_in(nodeid: str) -> bool:
    """Whether a test that runs on a CPU is among those that a rehearsal runs."""
    return nodeid.startswith("tests/test_on_gpu.py") and any(word in nodeid for word in TOY)


class Chosen:
    """A plugin of pytest: selects and sorts the tests, counts how they end, and stops in time."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.wanted, self.started = stage, 0, time.monotonic()
        self.outcomes: Counter[str] = Counter()
        self.failed: list[str] = []
        self.seconds: dict[str, float] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        mine = [item for item in items if item.get_closest_marker("gpu") or (self.stage.toy and stands_in(item.nodeid))]
        items[:] = sorted(mine, key=lambda item: rank(item.nodeid))
        self.wanted = len(items)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        if self.stage.left < RESERVE:
            item.session.shouldstop = "the stage's time is up"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid.split("::")[-1])
        if report.when == "call" or report.failed or report.skipped:
            self.outcomes[report.outcome] += 1
            self.tell()

    def tell(self, so_far: bool = True) -> None:
        """The row so far: a test that hangs costs no other's result."""
        took = f"{time.monotonic() - self.started:.0f} s with collection"
        self.stage.report("tests", len(self.failed), f"{self.note()}; {took}", so_far=so_far)

    def note(self) -> str:
        reached = sum(self.outcomes.values())
        slowest = max(self.seconds.items(), key=lambda test: test[1], default=("", 0.0))
        words = [f"{self.outcomes['passed']} passed, {self.outcomes['skipped']} skipped, {self.wanted - reached} not reached"]
        words.append(f"failed: {', '.join(self.failed)}" if self.failed else "")
        words.append(f"slowest {slowest[1]:.0f} s ({slowest[0].split('::')[-1]})" if slowest[0] else "")
        return "; ".join(filter(None, words)).replace("|", "/")


def check(stage: Stage) -> None:
    plugin = Chosen(stage)
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text(encoding="utf-8")]
    options = ["-m", "", "-p", "no:cacheprovider", "-v", "--durations=10", f"--rootdir={ROOT}", *map(str, files)]
    code = pytest.main(options, plugins=[plugin])
    if code not in (OK, FAILED, STOPPED) or not plugin.wanted:
        raise RuntimeError(f"pytest ended with {code!r}: see log.txt")
    plugin.tell(so_far=False)


def main() -> None:
    stage = Stage.from_command_line()
    stage.part("tests", ["tests"], 20, check)


if __name__ == "__main__":
    main()
