"""The notebook of the first tutorial: its code cells run in order, and save an edit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorials" / "first_edit.ipynb"


@pytest.mark.integration
def test_the_notebook_runs_and_saves_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    program, magics = re.subn(r"^( *)%.*$", r"\1pass", program, flags=re.MULTILINE)
    assert magics == 1  # the installation
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(NOTEBOOK), "exec"), {"__name__": "__main__"})
    errors = dict(re.findall(r"^(independent|full) +warp_error_moved (\S+)", capsys.readouterr().out, flags=re.MULTILINE))
    assert float(errors["full"]) < float(errors["independent"])
    assert len(list(tmp_path.glob("my_edit/edited/*.png"))) == 4
    assert (tmp_path / "my_edit" / "transforms.json").exists()
