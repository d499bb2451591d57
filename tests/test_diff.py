"""What differs between two run folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qnerf import diff
from qnerf.common.files import write_image, write_json


def run(folder: Path, strength: float, psnr: float, grey: int, weights: str) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(f"seed: 0\nguidance: {{name: soft, strength: {strength}}}\noutput_dir: {folder}\n")
    write_json(folder / "metrics.json", {"psnr_object": psnr, "warp_error_moved": 0.05, "methods": {"full": {"seconds": psnr}}})
    (folder / "run.log").write_text(f"INFO: computing inversion/{weights}\nINFO: reusing /a/store/edit/{weights[::-1]}\n")
    write_image(folder / "edited" / "0.png", np.full((4, 4, 3), grey, np.uint8))
    write_image(folder / "edited" / "1.png", np.zeros((4, 4, 3), np.uint8))
    write_json(folder / "done", {"seconds": 1.0})
    return folder


def test_settings_stages_figures_and_pictures_that_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path / "aaaaaaaa", 0.25, 20.0, 0, "0123456789abcdef")
    second = run(tmp_path / "bbbbbbbb", 0.5, 20.5, 255, "0123456789abcdef"[::-1])
    assert diff.main([str(first), str(second)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Settings",
        "  guidance.strength: 0.25 → 0.5",
        "Versions and stages",
        "  identity: aaaaaaaa → bbbbbbbb",
        "  stage inversion: 0123456789abcdef → fedcba9876543210",
        "  stage edit: fedcba9876543210 → 0123456789abcdef",
        "Figures",
        "  psnr_object: 20.00 dB → 20.50 dB (+0.5 better)",
        "Pictures",
        "  edited/0.png: -0.0 dB to one another",
    ]


def test_a_run_does_not_differ_from_itself_and_what_is_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path / "aaaaaaaa", 0.25, 20.0, 0, "0123456789abcdef")
    assert diff.main([str(first), str(first)]) == 0
    assert capsys.readouterr().out == "No difference.\n"
    assert diff.main([str(first), str(tmp_path)]) == 2
    assert f"{tmp_path} has no config.yaml; expected the folder of a run" in capsys.readouterr().err
    assert diff.main([str(first), str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'} does not exist; expected the folder of a run" in capsys.readouterr().err
