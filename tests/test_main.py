"""The installed `qnerf` command: each of its commands is the module of that name, with its exit codes, and starts as fast."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

from qnerf.__main__ import COMMANDS, main, module_of

SCRIPT = Path(sysconfig.get_path("scripts")) / "qnerf"


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script that pip has put beside the interpreter, or without one the function that it calls."""
    start = [str(SCRIPT)] if SCRIPT.is_file() else [sys.executable, "-m", "qnerf"]
    return subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)


def test_the_package_declares_the_command() -> None:
    [entry] = entry_points(group="console_scripts", name="qnerf")
    assert entry.load() is main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_module(command: str) -> None:
    assert find_spec(module_of(command))


def test_the_store_is_listed_checked_and_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, code in ((("list",), 0), (("check",), 0), (("prune", "--max-gib", "0"), 0), (("prune",), 2)):
        monkeypatch.setattr(sys, "argv", ["qnerf", "store", "--store", str(tmp_path), *command])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == code
        said = capsys.readouterr()
        assert "0 " in said.out if code == 0 else "--max-gib" in said.err, "a store is emptied by a number alone"
    monkeypatch.setattr(sys, "argv", ["qnerf", "store", "--store", str(tmp_path / "none"), "list"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "no such folder" in capsys.readouterr().err


def test_exit_codes_and_words_are_the_commands_own() -> None:
    wrong = call("run", "guidance.strenght=.1")
    assert wrong.returncode == 2
    assert "nearest valid: guidance.strength" in wrong.stderr


def test_a_command_that_is_not_there_is_answered_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for word, code in (("stor", 2), ("--help", 0)):
        monkeypatch.setattr(sys, "argv", ["qnerf", word])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == code
        told = capsys.readouterr()[code != 0]
        assert all(f"qnerf {command}" in told for command in COMMANDS)


def test_nothing_is_imported_that_python_m_would_not_import() -> None:
    code = (
        "import sys; sys.argv = {argv}; import runpy\n"
        "try: runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "print(len(sys.modules), 'torch' in sys.modules, file=sys.stderr)"
    )
    commands = [code.format(argv=["x", "ls", "guidance"], module="qnerf"), code.format(argv=["x", "guidance"], module="qnerf.ls")]
    done = [subprocess.run([sys.executable, "-c", each], capture_output=True, text=True, check=True) for each in commands]
    (ours, torch), (plain, _) = (each.stderr.split() for each in done)
    assert torch == "False"
    assert int(ours) <= int(plain) + 2
