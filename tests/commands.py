"""Several commands in one Python of their own, which is started once: that takes longer than most of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAM = """
import contextlib, io, json, runpy, sys
told = []
for module, *arguments in json.loads(sys.argv[1]):
    sys.argv, out, err, code = [module, *arguments], io.StringIO(), io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as left:
        code = left.code or 0
    told.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(told))
"""
Told = tuple[int, str, str]
"""Exit code, standard output and standard error."""


def run_commands(lines: Sequence[tuple[str, ...]], cwd: Path, environment: Mapping[str, str]) -> list[Told]:
    """What modules say to their arguments, one after the other."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout.splitlines()[-1])]
