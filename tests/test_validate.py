import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qnerf import validate
from tests.scenes.captures import POSES, document, write_capture


def test_a_good_sweep_is_told_with_its_cost(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["schedule=progressive", "guidance.strength=.01,.02", "seed=1,2", f"output_dir={tmp_path}/none/yet"]
    assert validate.main(["-m", *words]) == 0
    out = capsys.readouterr().out
    assert "Valid: 4 runs of articulation by independent, full, over\n  guidance.strength: 0.01, 0.02\n  seed: 1, 2" in out
    assert "on 2 CPU cores with 1 inversion" in out
    assert "Estimate: " in out
    assert "No GPU" not in out
    monkeypatch.setattr("qnerf.planning.cost.GPUS", tmp_path / "none")
    assert validate.main([f"output_dir={tmp_path}"]) == 0
    assert "No GPU" not in capsys.readouterr().out
    monkeypatch.setattr("qnerf.planning.cost.GPUS", tmp_path)
    assert validate.main([f"output_dir={tmp_path}"]) == 0
    assert "No GPU was measured: on device=auto" in capsys.readouterr().out
    assert validate.main(["device=cuda:1"]) == 0
    assert "No GPU was measured: on device=cuda:1" in capsys.readouterr().out


def test_every_error_is_a_line_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main(["sed=1", "seed=-1", "guidance=sfot"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("qnerf: ") for line in lines)
    assert validate.main(["scene.path=~/no/scene"]) == 2
    assert f"{Path.home() / 'no' / 'scene'} does not exist" in capsys.readouterr().err
    assert validate.main(["-m", "guidance.strength=.1,-1", "scene.views=99"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2, "what the settings say and what the files say come together"


def test_a_disk_that_is_too_small_is_a_warning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validate, "free_bytes", lambda folder: 1000)
    assert validate.main([]) == 0
    assert "has only 1 MiB free; set output_dir=" in capsys.readouterr().out


def test_nothing_heavy_is_imported() -> None:
    """Nor to check a run, its scene and its proxy, and to estimate it."""
    told = "print(sorted({'torch', 'diffusers', 'transformers', 'wandb'} & set(sys.modules)))"
    code = f"import sys, qnerf.validate, qnerf.ls; qnerf.validate.main([]); {told}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


NO_PROXIES = {
    "{": "is not valid JSON",
    "[]": "is a list, expected an object",
    "3": "is 3, expected an object",
    '{"kind": "box"}': "has no 'source'",
}


def test_a_proxy_that_moves_nothing_is_told_and_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    box = {"centre": [0, 0, 1], "size": [1, 1, 1]}
    (tmp_path / "box.json").write_text(json.dumps({"kind": "box", "source": box, "target": box}))
    assert validate.main([f"scene.proxy={tmp_path}/box.json"]) == 0
    assert capsys.readouterr().err.count("box.json has the same source and target: nothing moves") == 1


@pytest.mark.parametrize(("text", "expected"), NO_PROXIES.items())
def test_a_file_that_is_no_proxy_is_told(text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "box.json").write_text(text)
    assert validate.main([f"scene.proxy={tmp_path}/box.json"]) == 2
    assert expected in capsys.readouterr().err


def test_poses_of_other_axes_are_told_before_any_image_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = document()
    for frame, pose in zip(changed["frames"], POSES, strict=True):
        frame["transform_matrix"] = (pose @ np.diag([1.0, -1, -1, 1])).tolist()
    folder = write_capture(tmp_path, changed)
    command = ["+exp=capture", f"scene.path={folder}", "scene.views=4"]
    assert validate.main(command) == 2
    assert "set scene.axes=opencv" in capsys.readouterr().err
    assert validate.main([*command, "scene.axes=opencv"]) == 0
