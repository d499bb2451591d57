"""A sweep of eight cells that W&B records offline, read back from its own files: one cell fails and one is killed, the sweep is
resumed, told again from its record, and run by each of Hydra's launchers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence, Set
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sweeps.conftest import SMALL
from tests.trackers.wandb_file import Kept, read

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GRID = ("guidance.strength=0.01,0.02", "schedule.interval=1,2", "seed=0,1")
FAILING, KILLED = "0.01,2,0", "0.02,1,1"  # cells 3 and 6
LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "ray": ["hydra.launcher.ray.init.num_cpus=2", "hydra.launcher.ray.remote.num_gpus=0"],
    "submitit_local": ["hydra.launcher.timeout_min=10"],
}
EXPECTED = {  # at every cell
    "full/psnr_truth", "full/warp_error_moved", "full/r2/up_blocks.1.attentions.0.transformer_blocks.0.attn1", "full/disagreement",
    "source", "full/views", "full/queries", "full/preview", "full/step_disagreement", "contact_sheet", "orbit", "methods", "views",
}  # fmt: skip
KILLED_CELL = "guidance.strength=0.02 schedule.interval=1 seed=1"
AT_WORK = {"full/preview", "full/step_disagreement"}  # of edits that are found in the store there is none


def run(place: Path, output: Path, *more: str, grid: Sequence[str] = GRID, spoiled: Sequence[str] = ("-", "-")) -> int:
    """The sweep's exit code. All share a store: what is computed again elsewhere is of no interest here."""
    folders = [f"scene.path={place / 'scene'}", f"backbone.path={place / 'backbone'}", f"store.path={place / 'store'}"]
    words = ["-m", *folders, f"output_dir={output}", *SMALL, *grid, "tracker=wandb", *more]
    command = [sys.executable, "-m", "tests.trackers.sweeping", *spoiled, *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    time.sleep(2)  # W&B's own process outlives a killed one by a moment, and names its folders by the second
    return done.returncode


def parts(output: Path, project: str = "qnerf") -> dict[str, list[Kept]]:
    """What W&B kept of each cell by its name, an attempt each, in order."""
    found: dict[str, list[Kept]] = {}
    for path in sorted(output.glob("articulation/*/wandb/offline-run-*/run-*.wandb"), key=lambda path: path.parent.name):
        kept = read(path)
        if kept.run is None:  # killed before W&B's own process had written even what the run is
            continue
        if kept.run.project == project:
            found.setdefault(kept.run.display_name, []).append(kept)
            assert all((path.parent / "files" / name).is_file() for name in kept.media)
    return found


def check_record(output: Path, found: dict[str, list[Kept]], killed: str = "", expected: Set[str] = EXPECTED) -> None:
    """Eight runs of one group; each has every line of its journal once, whatever attempts it took. killed: a cell of which W&B may
    lack what it was told in the last moments before the kill, since its process ends with ours and keeps what is in its buffer."""
    [sweep] = output.glob("sweeps/*")
    names = {f"guidance.strength={s} schedule.interval={i} seed={n}" for s in ("0.01", "0.02") for i in (1, 2) for n in (0, 1)}
    assert set(found) == names
    assert {part.run.run_group for attempts in found.values() for part in attempts} == {sweep.name}
    for name, attempts in found.items():
        told = Counter(point for part in attempts for point in part.points())
        [folder] = {output / "articulation" / part.run.run_id for part in attempts}
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        figures = {(key, line["step"]) for line in lines if "step" in line and "image" not in line for key in line if key != "step"}
        pictures = {(line["image"], line["step"]) for line in lines if "image" in line and "step" in line}
        assert [point for point in sorted(figures | pictures) if told[point] > 1] == [], name
        missing = [point for point in sorted(figures | pictures) if not told[point]]
        assert missing == [] or name == killed, name
        assert {key for key, _ in told} >= expected or name == killed, name
        assert not [
            key for key, number in Counter(key for key, _ in told).items() if key in ("contact_sheet", "orbit") and number != 1
        ]
        made = [artifact for part in attempts for artifact in (*part.inputs, *part.outputs) if not artifact.startswith("run-")]
        kinds = Counter(artifact.split("-")[0] for artifact in made)
        assert kinds == {"scene": 1, "inversion": 1, "code": 1, "edit": 1} or name == killed, name


@pytest.fixture(scope="module")
def resumed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with a failing and a killed cell, and run again: its folder. What the first attempt left is checked on the way."""
    output = tmp_path_factory.mktemp("wandb")
    assert run(place, output, spoiled=(FAILING, KILLED)) == -9
    codes = {name: [part.exit_code for part in attempts] for name, attempts in parts(output).items()}
    failed = codes.pop("guidance.strength=0.01 schedule.interval=2 seed=0")
    killed = codes.pop(KILLED_CELL, [None])
    assert failed == [1]
    assert killed != [0]
    assert list(codes.values()) == [[0]] * 4, "cells 7 and 8 have not begun"
    assert run(place, output) == 0
    return output


def test_a_failing_and_a_killed_cell_are_not_finished_and_a_resumed_sweep_is_whole(resumed: Path) -> None:
    found = parts(resumed)
    assert {attempts[-1].exit_code for attempts in found.values()} == {0}
    counts = sorted(len(attempts) for attempts in found.values())
    assert counts[:-1] in ([1] * 7, [1] * 6 + [2]), "of the killed attempt there may be nothing"
    assert counts[-1] == 2
    check_record(resumed, found, KILLED_CELL)


def test_a_finished_sweep_is_told_from_its_record(resumed: Path, place: Path) -> None:
    assert run(place, resumed, "tracker.project=other") == 0
    found = parts(resumed, "other")
    assert [[part.exit_code for part in attempts] for attempts in found.values()] == [[0]] * 8
    check_record(resumed, found)
    assert run(place, resumed, "tracker.project=other") == 0
    assert {len(attempts) for attempts in parts(resumed, "other").values()} == {1}, "and once only"


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(name, marks=pytest.mark.skipif(find_spec(name.split("_")[0]) is None, reason="not installed"))
        for name in LAUNCHERS
    ],
)
def test_launchers_leave_the_same_record(launcher: str, resumed: Path, place: Path, tmp_path: Path) -> None:
    assert run(place, tmp_path, f"hydra/launcher={launcher}", *LAUNCHERS[launcher]) == 0
    found = parts(tmp_path)
    assert [[part.exit_code for part in attempts] for attempts in found.values()] == [[0]] * 8
    check_record(tmp_path, found, expected=EXPECTED - AT_WORK)
    whole, again = keys_of(parts(resumed)), keys_of(found)
    assert whole.pop(KILLED_CELL) <= again.pop(KILLED_CELL)
    assert again == whole


def keys_of(found: dict[str, list[Kept]]) -> dict[str, set[str]]:
    """What was told of each cell, but what is told only while an edit is computed."""
    return {name: {key for part in attempts for key, _ in part.points()} - AT_WORK for name, attempts in found.items()}


def test_a_cell_that_fails_before_it_begins_is_failed_at_wandb(place: Path, tmp_path: Path) -> None:
    assert run(place, tmp_path, grid=("recorder.layers=[10],[99]", "schedule.interval=2")) == 1
    codes = {name: [part.exit_code for part in attempts] for name, attempts in parts(tmp_path).items()}
    assert codes == {"recorder.layers=[10]": [0], "recorder.layers=[99]": [2]}
