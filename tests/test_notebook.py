"""The notebooks of the tutorials: their code cells run in order, and save an edit."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"


def run(name: str, folder: Path) -> str:
    """What a notebook's code cells print, run in a folder."""
    cells = json.loads((TUTORIALS / name).read_text(encoding="utf-8"))["cells"]
    program = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    program, magics = re.subn(r"^( *)%.*$", r"\1pass", program, flags=re.MULTILINE)
    assert magics == 1  # the installation
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.integration
def test_the_notebook_runs_and_saves_an_edit(tmp_path: Path) -> None:
    printed = run("first_edit.ipynb", tmp_path)
    errors = dict(re.findall(r"^(independent|full) +warp_error_moved (\S+)", printed, flags=re.MULTILINE))
    assert float(errors["full"]) < float(errors["independent"])
    assert len(list(tmp_path.glob("my_edit/edited/*.png"))) == 4
    assert (tmp_path / "my_edit" / "transforms.json").exists()


@pytest.mark.integration
def test_an_own_capture_becomes_an_edited_one_in_its_own_world(tmp_path: Path) -> None:
    printed = run("own_capture.ipynb", tmp_path)
    assert "good  Optical axes" in printed
    assert (tmp_path / "pose.html").is_file()
    assert len(list(tmp_path.glob("edited_capture/images/*.png"))) == 4
    poses = [
        {Path(frame["file_path"]).name: frame["transform_matrix"] for frame in json.loads(path.read_text())["frames"]}
        for path in (tmp_path / "photographs/transforms.json", tmp_path / "edited_capture/transforms.json")
    ]
    for name, pose in poses[1].items():
        for row, known in zip(pose, poses[0][name], strict=True):
            assert row == pytest.approx(known, abs=1e-5)
