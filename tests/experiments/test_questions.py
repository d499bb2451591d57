"""The study of the open questions."""

from pathlib import Path

import pytest
import torch

from experiments import __main__ as commands
from experiments import runs
from experiments.questions import study as questions
from qnerf.common.files import write_json
from qnerf.config import RunSettings
from qnerf.scenes.images import write_image


def test_the_open_questions_rows_are_runs_and_their_figures_are_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (questions.ONE_SHOT, "soft, interval 10, step 0.01", "views 64", "layers fine", "inversion direct"):
        settings = RunSettings.compose(*questions.BASE, *questions.ROWS[name], "scene.path=procedural:toy_101")
        assert (settings.schedule.name == "progressive") == (name != questions.ONE_SHOT)
    done = []

    def run(settings: RunSettings, command: str) -> Path:
        done.append(settings)
        folder = tmp_path / "runs" / str(len(done))
        floor = {"warp_error_moved_floor": 0.02, "heldout_psnr": 20.0, "psnr_moved": 15.0, "silhouette_iou": 0.8}
        methods = {
            "independent": {**floor, "warp_error_moved": 0.1, "psnr_object": 20.0},
            "full": {**floor, "warp_error_moved": 0.06 / len(done) + 0.02, "psnr_object": 21.5, "seconds": 3.0},
        }
        (folder / "methods").mkdir(parents=True)
        write_json(folder / "metrics.json", {"methods": methods})
        write_json(folder / "methods" / "full.json", {"intervals": [{"r2": {"a": 0.2, "b": 0.4}}, {"r2": {"a": 0.6, "b": 0.6}}]})
        (folder / "edited").mkdir()
        write_image(folder / "edited" / "000.png", torch.rand(3, 32, 32).numpy())
        return folder

    monkeypatch.setattr(runs, "run", run)
    assert commands.main(["run", "Q5", "--images", "1", "--output", str(tmp_path)]) == 0
    told = (tmp_path / "questions" / "Q5.md").read_text()
    assert f"| {questions.DEFAULT} | 1 | 25 | 1.50 | 0.00 | 0.000 | 0.00 | 0.30 | 0.60 | 3 |" in told
    assert "| progressive agrees better | open | 25.00 against 62.50 | 1 | does not hold, so far |" in told
    assert commands.main(["run", "Q6", "--images", "1", "--output", str(tmp_path)]) == 0
    assert len(done) == 2 + len(questions.RECORDERS), "what Q5 has measured is not measured again"
    assert done[0].scene.path == "procedural:figure_101"
