import re

import pytest

from qnerf import ls
from qnerf.run import CONFIGS


def test_every_choice_has_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("experiments: python -m qnerf.run +exp=<name>")
    for group in ls.chosen_groups([]):
        for path in (CONFIGS / group).glob("*.yaml"):
            line = ls.describe_choice(path)
            assert 10 < len(line) < 200, f"{path} does not say what it is in its first comment"
            assert "python -m" not in line
            assert line in out


def test_a_single_group_and_one_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main(["guidance"]) == 0
    assert re.search(r"^  soft +One gradient step", capsys.readouterr().out, re.MULTILINE)
    assert ls.main(["guidence"]) == 2
    assert "guidence: there is no such group of configs; nearest valid: guidance" in capsys.readouterr().err


def test_a_choice_is_shown_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main(["schedule", "progressive"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("schedule/progressive: python -m qnerf.run schedule=progressive\n  # ")
    assert re.search(r"^  interval: \d+ # .+", out, re.MULTILINE)
    assert ls.main(["baselines", "posed"]) == 0
    assert capsys.readouterr().out.startswith("baselines/posed: python -m qnerf.run 'baselines=[posed]'\n")
    assert ls.main(["schedule", "progresive"]) == 2
    assert "schedule progresive: there is no such choice of schedule; nearest valid: progressive" in capsys.readouterr().err
