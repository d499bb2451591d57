"""A command line is planned as Hydra would run it, and every mistake in it is answered at once."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS

EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "exp").glob("*.yaml"))


def test_one_run_without_a_sweep() -> None:
    plan = plan_command(["+exp=smoke", "seed=3"], CONFIGS)
    assert (plan.swept, plan.errors, len(plan.cells)) == ({}, [], 1)
    assert (plan.cells[0].experiment, plan.cells[0].seed) == ("smoke", 3)


def test_the_grid_is_in_hydras_order_and_interpolations_follow_the_swept_values() -> None:
    plan = plan_command(["-m", "baselines=[hard]", "schedule.interval=3,4", "seed=range(2)"], CONFIGS)
    assert [(c.schedule.interval, c.seed) for c in plan.cells] == [(3, 0), (3, 1), (4, 0), (4, 1)]  # pyright: ignore[reportAttributeAccessIssue]
    assert all(cell.baselines["hard"].schedule == cell.schedule for cell in plan.cells)


def test_choices_are_swept_beside_values() -> None:
    plan = plan_command(["guidance=soft,hard", "guidance.until=0.5,1.0"], CONFIGS)
    assert [(c.guidance.name, c.guidance.until) for c in plan.cells] == [("soft", 0.5), ("soft", 1), ("hard", 0.5), ("hard", 1)]  # pyright: ignore[reportAttributeAccessIssue]


def test_errors_of_any_cell_are_found_and_told_once() -> None:
    plan = plan_command(["schedule=progressive", "guidance.strength=.01,-1", "steps=30,4", "seed=0,1"], CONFIGS)
    assert plan.errors == [
        "schedule.interval: got 5; expected less than steps, 4, or no field is ever trained",
        "guidance.strength: got -1; expected greater than 0",
    ]


def test_guidance_that_would_end_before_its_first_field_is_refused() -> None:
    errors = plan_command(["schedule=progressive", "guidance.until=.35,.1", "schedule.interval=5"], CONFIGS).errors
    assert errors == [
        "guidance.until: guidance ends before step 5 of 30, where the first field is trained; expected more than 0.167, "
        "or a shorter schedule.interval"
    ]


def test_a_swept_choice_that_is_not_there_is_found_beside_the_other_errors() -> None:
    errors = plan_command(["guidance=soft,sfot", "sed=1", "seed=-1"], CONFIGS).errors
    assert [error.split(":")[0] for error in errors] == ["sed", "seed", "guidance=sfot"]
    assert "nearest valid: soft" in errors[2]


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        found |= leaves(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


@pytest.mark.parametrize("experiment", [*EXPERIMENTS[::4], "optuna_guidance"])  # mistakes are answered alike in all
def test_forty_mutations_of_an_experiment_are_refused_together_in_two_seconds(experiment: str, tmp_path: Path) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", [f"+exp={experiment}"])
    numbers = [k for k, v in leaves(OmegaConf.to_container(config)).items() if isinstance(v, int | float) and "." in k]
    typos, values = numbers[:22], numbers[22:44]
    assert len(typos) + len(values) >= 40
    started = time.process_time()
    mutations = [*(f"{key}x=1" for key in typos), *(f"{key}=wrong" for key in values)]
    errors = plan_command([f"+exp={experiment}", "scene.path=x", *mutations], CONFIGS).errors
    assert time.process_time() - started < 2
    told = {error.split(":")[0]: error for error in errors}
    assert set(told) == {*(f"{key}x" for key in typos), *values}
    assert all(f"nearest valid: {key};" in told[f"{key}x"] for key in typos)
    assert all(re.match(r".*: (got 'wrong'|'wrong' is not valid); expected .", told[key]) for key in values)
