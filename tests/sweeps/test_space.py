"""The space of a search: what a command line describes, its ends, and points spread over it."""

from __future__ import annotations

import numpy as np
import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from qnerf.errors import UserError
from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS
from qnerf.sweeps.expand import split_overrides
from qnerf.sweeps.space import Choices, Interval, ends, read_search, read_space, spread

LINE = ("+exp=smoke", "a=1,2", "b=interval(0.5,2)", "c=tag(log,int(interval(1,100)))", "d=int(interval(1,4))")
SETTINGS = {"trials": 3, "batch": 1, "sampler": "tpe", "startup": 2, "seed": 0, "params": None}


def search_config(**changes: object) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweeper": {**SETTINGS, **changes}}})


def test_a_command_line_is_a_space_and_the_last_of_two_counts() -> None:
    fixed, space = read_space([*LINE, "e=range(3)", "a=x,y", "f=[1,2]"])
    assert fixed == ["+exp=smoke", "f=[1,2]"]
    assert space == {
        "a": Choices(["x", "y"]),
        "b": Interval(0.5, 2),
        "c": Interval(1, 100, whole=True, log=True),
        "d": Interval(1, 4, whole=True),
        "e": Choices(["0", "1", "2"]),
    }


def test_ends_have_every_choice_and_both_ends_changing_one_key_at_a_time() -> None:
    points = ends({"a": Choices(["x", "y"]), "b": Interval(0.5, 2), "c": Choices(["u", "v"])})
    assert points == [
        {"a": "x", "c": "u"},
        {"a": "y", "c": "u"},
        {"a": "x", "c": "u", "b": "0.5"},
        {"a": "x", "c": "u", "b": "2.0"},
        {"a": "x", "c": "v"},
    ]


def test_points_are_spread_evenly_and_stay_inside() -> None:
    space = {"a": Interval(0, 1), "b": Interval(0.01, 100, log=True), "c": Interval(1, 4, whole=True), "d": Choices(["x", "y"])}
    points = spread(space, 400)
    assert points[:5] == spread(space, 5), "more points lengthen the same list"
    a, b, c = (np.array([float(point[key]) for point in points]) for key in "abc")
    for shares in (a, (np.log10(b) + 2) / 4):
        counts, _ = np.histogram(shares, bins=10, range=(0, 1))
        assert counts.min() > 30
    assert set(c) == {1, 2, 3, 4}
    assert abs(sum(point["d"] == "x" for point in points) - 200) < 20
    assert abs(np.corrcoef(a, np.log(b))[0, 1]) < 0.1


def test_numbers_are_rounded_but_never_leave_the_interval() -> None:
    narrow, narrow_values = Interval(0.123456, 0.123457), (0.123456, 0.123457)
    assert all(narrow.low <= float(narrow.text(value)) <= narrow.high for value in narrow_values)
    assert Interval(0, 1).text(1 / 3) == "0.3333"


def test_an_interval_in_a_grid_is_said() -> None:
    with pytest.raises(HydraException, match=r"an interval cannot be a grid; .* hydra/sweeper=optuna"):
        split_overrides(["guidance.strength=interval(0.01,0.02)"])
    [error] = plan_command(["-m", "guidance.strength=interval(0.01,0.02)", "seed=0,1"], CONFIGS).errors
    assert "guidance.strength=interval(0.01,0.02): an interval cannot be a grid" in error


def test_settings_of_a_search_are_checked_together() -> None:
    with pytest.raises(UserError) as caught:
        read_search(search_config(trials=0, sampler="tp"), ["a=1,2"])
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("hydra.sweeper.trials: got 0; expected")
    assert lines[1].startswith("hydra.sweeper.sampler: 'tp' is not valid; nearest valid: tpe")
    with pytest.raises(UserError, match="there is nothing to search"):
        read_search(search_config(), ["a=1"])


def test_the_command_line_has_the_last_word_over_an_experiments_space() -> None:
    _, fixed, space = read_search(search_config(params={"a": "interval(1.0, 2.0)", "b": "1,2"}), ["a=1.5"])
    assert fixed == ["a=1.5"]
    assert space == {"b": Choices(["1", "2"])}


def test_a_search_is_planned_as_many_runs_as_it_has_trials_and_all_its_ends_are_checked() -> None:
    search = ["+exp=optuna_guidance", "hydra.sweeper.trials=7"]
    plan = plan_command(search, CONFIGS)
    assert (len(plan.cells), plan.errors) == (7, [])
    assert plan.swept["guidance.strength"] == ["0.1 to 1"]
    errors = plan_command([*search, "schedule.interval=2,99", "guidance.until=interval(-1.0,0.5)"], CONFIGS).errors
    assert [error.split(":")[0] for error in errors] == ["guidance.until", "schedule.interval"]
    assert plan_command([*search, "hydra.sweeper.batch=0"], CONFIGS).errors[0].startswith("hydra.sweeper.batch: got 0")
