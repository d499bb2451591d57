"""The notebook of the first tutorial: its code cells run in order, and save an edit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorials" / "first_edit.ipynb"


@pytest.mark.integration
def test_the_notebook_runs_and_saves_an_edit(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    program, magics = re.subn(r"^( *)%.*$", r"\1pass", program, flags=re.MULTILINE)
    assert magics == 1  # the installation
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    errors = dict(re.findall(r"^(independent|full) +warp_error_moved (\S+)", done.stdout, flags=re.MULTILINE))
    assert float(errors["full"]) < float(errors["independent"])
    assert len(list(tmp_path.glob("my_edit/edited/*.png"))) == 4
    assert (tmp_path / "my_edit" / "transforms.json").exists()
