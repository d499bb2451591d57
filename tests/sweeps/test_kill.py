"""Kill -9 at any moment: every artefact is old or new, and the same command ends with what an unbroken sweep gives."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from qnerf.store.prune import damaged
from qnerf.store.store import Store

GRID = ("guidance.strength=.01,.02", "schedule.interval=1,2", "baselines=[independent]")
ONE = ("guidance.strength=.01", "schedule.interval=2")


def results_of(output: Path) -> dict[str, Any]:
    """Everything that a finished sweep leaves, but times and places."""
    found: dict[str, Any] = {}
    for folder in sorted(output.glob("articulation/*")):
        metrics = json.loads((folder / "metrics.json").read_text())
        found[f"{folder.name}/metrics"] = json.dumps(_untimed(metrics), sort_keys=True)
        for path in sorted([*folder.glob("edited/*.png"), *folder.glob("methods/*.safetensors"), *folder.glob("methods/*.png")]):
            found[f"{folder.name}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _untimed(value: Any) -> Any:
    return {key: _untimed(item) for key, item in value.items() if key != "seconds"} if isinstance(value, dict) else value


def run(script: str, arguments: list[str]) -> str:
    """A fresh process for forks: in this one, torch has already started threads."""
    code = f"import sys; from tests.sweeps.test_kill import *; {script}(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def whole(output: Path) -> None:
    """No artefact is damaged, and every file that has its final name can be read."""
    assert list(damaged(Store(output / "store"))) == []
    for path in [*output.rglob("metrics.json"), *output.rglob("results.csv"), *output.rglob("sweep.json")]:
        assert path.read_text().endswith("\n")
        if path.suffix == ".json":
            json.loads(path.read_text())


def kill_at_writes(arguments: list[str]) -> None:
    """Kills one run at every `stride`-th of its writes, each time in a new folder, and then lets the same command finish."""
    from tests.sweeps.killing import killed_sweep

    output, stride, *overrides = arguments
    place = Path(output)
    assert killed_sweep(["-m", *overrides, f"output_dir={place / 'whole'}"], place / "log") == 0
    expected, write = results_of(place / "whole"), 1
    assert expected
    while True:
        broken = place / str(write)
        command = ["-m", *overrides, f"output_dir={broken}"]
        code = killed_sweep(command, place / f"{write}.log", write=write)
        whole(broken)
        if code == 0:
            break
        assert killed_sweep(command, place / f"{write}.log") == 0, (place / f"{write}.log").read_text()
        assert results_of(broken) == expected, f"killed at write {write}"
        write += int(stride)
    print(write)


def kill_at_moments(arguments: list[str]) -> None:
    """Kills a grid at random moments, over and over in one folder, until it is through."""
    from tests.sweeps.killing import killed_sweep

    output, count, *overrides = arguments
    place, draw, kills = Path(output), random.Random(0), 0
    started = time.monotonic()
    assert killed_sweep(["-m", *overrides, f"output_dir={place / 'whole'}"], place / "whole.log") == 0
    longest = time.monotonic() - started
    expected = results_of(place / "whole")
    for number in range(int(count)):  # a new folder whenever one is through
        broken, log = place / f"broken{number}", place / f"{number}.log"
        command, code = ["-m", *overrides, f"output_dir={broken}"], -9
        while code == -9:
            late = kills < int(count)
            code = killed_sweep(command, log, seconds=draw.uniform(0.1, 0.7) * longest if late else None)
            kills += code == -9
            whole(broken)
        assert code == 0, log.read_text()
        assert results_of(broken) == expected
        finished = Counter(re.findall(r"Pictures and figures: (\S+)", log.read_text()))
        assert not any("Finished already" in line for line in log.read_text().splitlines())
        assert set(finished.values()) == {1}, "a finished cell was repeated"
        [table] = broken.glob("sweeps/*/results.csv")
        assert {row["status"] for row in csv.DictReader(table.open())} == {"done"}
        if kills >= int(count):
            break
    print(kills)


@pytest.mark.slow
def test_killed_at_every_write_of_a_run(small: list[str], tmp_path: Path) -> None:
    assert int(run("kill_at_writes", [str(tmp_path), "1", *small, *ONE])) > 50


@pytest.mark.slow
def test_killed_at_twenty_moments_of_a_grid(small: list[str], tmp_path: Path) -> None:
    assert int(run("kill_at_moments", [str(tmp_path), "20", *small, *GRID])) >= 20
