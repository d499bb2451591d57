"""An agent of W&B against a stand-in of its server: it starts runs of this command, repeats a point, and stops one early, as
hyperband does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweeps.conftest import SMALL
from tests.trackers.standin import serve
from tests.trackers.wandb_file import Kept, read

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


class Plan:
    """What the server tells the agent: a point, the same point again, and another that is stopped once it has two previews."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.told: list[str] = []

    def __call__(self, states: Mapping[str, bool]) -> list[dict[str, Any]]:
        if "third" in states:
            return [{"type": "stop", "run_id": "third"}] if self.has_live_figure() else []
        if states:
            return []
        name = next((name for name in ("first", "second", "third") if name not in self.told), None)
        if name is None:
            return [{"type": "exit"}]
        self.told.append(name)
        steps = 400 if name == "third" else 4
        args = {"guidance.strength": {"value": 0.01}, "steps": {"value": steps}, "schedule.interval": {"value": steps // 2}}
        return [{"type": "run", "run_id": name, "program": "qnerf", "args": args}]

    def has_live_figure(self) -> bool:
        working = [path.parent for path in self.output.glob("articulation/*/config.yaml") if not (path.parent / "done").exists()]
        return any(len(list(folder.glob("methods/full_preview*.png"))) > 1 for folder in working)


def kept(output: Path) -> dict[str, Kept]:
    found = [read(path) for path in output.glob("articulation/*/wandb/offline-run-*/run-*.wandb")]
    return {each.run.run_id: each for each in found}


def test_an_agents_runs_repeats_and_early_stops_are_told_truly(place: Path, tmp_path: Path) -> None:
    output = tmp_path / "outputs"
    own = [f"scene.path={place / 'scene'}", f"backbone.path={place / 'backbone'}", f"output_dir={output}"]
    fixed = [word for word in SMALL if not word.startswith("steps=")]
    command = [sys.executable, "-m", "qnerf.run", *own, *fixed, "tracker=wandb", "tracker.mode=offline", "${args_no_hyphens}"]
    with serve() as (server, environment):
        server.sweep = yaml.safe_dump({"method": "grid", "command": command, "parameters": {}})
        server.commands = Plan(output)
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_AGENT_DISABLE_FLAPPING": "true"}
        agent = [sys.executable, "-m", "wandb", "agent", "me/qnerf/abc"]
        done = subprocess.run(agent, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False)
    print(done.stdout, done.stderr)
    found = kept(output)
    assert {name: each.exit_code for name, each in found.items()} == {"first": 0, "second": 0, "third": 143}
    assert found["second"].points() == found["first"].points(), "a repeat is told from the record"
    assert "contact_sheet" in dict(found["first"].points())
    assert "full/preview" in dict(found["third"].points())
