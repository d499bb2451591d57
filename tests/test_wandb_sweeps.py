"""The shipped sweeps of W&B: every command that an agent would run is valid, and the figure that they watch exists."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from qnerf.config import MAIN_METHOD
from qnerf.metrics.registry import metric_of, objectives
from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS

FOLDER = Path(__file__).parents[1] / "experiments" / "wandb"
SHIPPED = sorted(FOLDER.glob("*.yaml"))


def values(parameter: dict[str, Any]) -> list[str]:
    """Those of a list, or the ends of a range."""
    return [str(value) for value in parameter.get("values", [parameter.get("min"), parameter.get("max")])]


def test_there_is_one_for_each_ablation() -> None:
    assert [path.stem for path in SHIPPED] == ["guidance", "interval_x_guidance", "layers", "schedule", "search"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_an_agents_commands_are_valid_and_are_its_experiments_grid(path: Path) -> None:
    sweep = yaml.safe_load(path.read_text())
    assert set(sweep) <= {"project", "name", "program", "method", "metric", "parameters", "command"}
    head, (*own, last) = sweep["command"][1:4], sweep["command"][4:]
    assert (head, last) == (["python", "-m", "qnerf.run"], "${args_no_hyphens}")
    assert {"tracker=wandb", "tracker.mode=online"} <= set(own)
    swept = {key: values(parameter) for key, parameter in sweep["parameters"].items()}
    plan = plan_command([*own, *(f"{key}={','.join(each)}" for key, each in swept.items()), "hydra/sweeper=qnerf"], CONFIGS)
    assert plan.errors == []
    assert len(plan.cells) == len(list(itertools.product(*swept.values())))
    assert set(swept) == set(plan.grid), "each key that the experiment sweeps is the agent's, so that a command is one run"
    method, _, figure = sweep["metric"]["name"].partition("/")
    assert (method, figure in objectives()) == (MAIN_METHOD, True)
    assert sweep["metric"]["goal"] == {"lower": "minimize", "higher": "maximize"}[str(metric_of(figure).better)]
