"""Tab completion: what may follow, for every way of calling, and the script in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qnerf import completion
from qnerf.completion import candidates


@pytest.mark.parametrize("way", ["qnerf run", "python -m qnerf.run", "python3 some/where/qnerf/run.py", "/bin/qnerf validate"])
def test_choices_follow_each_way_of_calling(way: str) -> None:
    assert candidates(f"{way} -m seed=0,1 schedule=one") == ["schedule=one_shot"]


def test_commands_keys_experiments_and_lists_of_values_are_completed() -> None:
    assert candidates("qnerf va") == ["validate"]
    assert candidates("python -m qnerf.va") == ["qnerf.validate"]
    assert candidates("qnerf run +exp=ablation_interval_x guidance.stre") == []  # no such experiment, nothing to compose
    assert candidates("qnerf run guidance.stre") == ["guidance.strength="]
    assert candidates("qnerf run -m guidance=soft,ha") == ["guidance=soft,hard"]
    assert candidates("qnerf run --mul") == ["--multirun"]
    assert candidates("ls qnerf") == []
    assert candidates("qnerf watch out") == []


def test_the_script_completes_in_bash(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (tmp_path / "qnerf").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qnerf "$@"\n')
    (tmp_path / "qnerf").chmod(0o755)
    asked = "qnerf run guidance=ha"
    code = f'{completion.SCRIPT}COMP_LINE="{asked}"; COMP_POINT={len(asked)}; _qnerf_complete; echo "${{COMPREPLY[@]}}"'
    places = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([bash, "-c", code], env={**os.environ, **places}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["guidance=hard"]


def test_another_shell_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main(["fish"]) == 2
    assert "fish: expected bash or zsh" in capsys.readouterr().err
