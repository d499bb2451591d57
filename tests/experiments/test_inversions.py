"""The studies of inversions, on a random backbone."""

from pathlib import Path

import pytest
import torch

from experiments.inversions import cost, null_texts, transformed
from tests.experiments.scripts import load
from tests.schedules.helpers import BACKBONE


def test_every_row_of_the_study_of_inversions_is_a_setting() -> None:
    study = load("inversions/study.py")
    found = {name: study.inversion_of(row.inversion) for name, row in study.ROWS.items()}
    assert {inversion.name for inversion in found.values()} == {
        "ddim", "uniform_attention", "null_text", "negative_prompt", "direct", "ddpm",
    }  # fmt: skip
    assert found["ddpm, γ 7.5"].reconstruction_scale == 7.5


def test_the_study_of_inversions_measures_by_row_and_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load("inversions/study.py")
    monkeypatch.setattr(study, "STEPS", 2)
    image = study.Image(BACKBONE, torch.rand(1, 3, 32, 32), {"caption": "a figure", "empty": "", "wrong": "a lamp"})
    figures, rebuilt = image.measure(study.ROWS["direct, γ 7.5"])
    assert figures["psnr"] > 80, "the source comes back"
    torch.testing.assert_close(rebuilt, image.round_trip[0], rtol=0, atol=1e-3)
    null_text, _ = image.measure(
        study.Row("null_text inversion.inner_steps=2 inversion.early_stop=0 inversion.early_stop_growth=0")
    )
    assert null_text["inner_steps"] == "2 2"
    path = tmp_path / "results.csv"
    rows = ["row,image,psnr,ssim,mse,inner_steps", '"ddim, γ 1",0,20,0.5,0.01,', '"ddim, γ 1",1,30,0.7,0.001,']
    path.write_text("\n".join([*rows, '"null-text, γ 7.5",0,25,0.6,0.003,1 4 4']))
    lines = study.table(path).splitlines()
    assert lines[2] == "| ddim, γ 1 | 2 | 25.00 ± 7.1 | 0.6000 | 5.50 |"
    assert lines[-1] == "Null-text: 3.00 forward and backward passes a step (1: 33%, 4: 67%)."


def test_transformed_images_and_the_cosines_of_their_trajectories() -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:8] = 1
    torch.testing.assert_close(transformed.moved(across=1 / 4)(image)[..., 8:12], torch.ones(1, 3, 16, 4))
    assert transformed.moved(turn=90)(image)[0, 0].sum(dim=0).max() == pytest.approx(4, abs=0.01), "it lies"
    torch.testing.assert_close(transformed.moved(scale=2)(image)[0, 0, 0].sum(), torch.tensor(8.0), rtol=0, atol=0.6)
    assert transformed.tinted(0.5, 1, 2)(torch.full((1, 3, 1, 1), 0.6)).flatten().tolist() == pytest.approx([0.3, 0.6, 1])
    first = torch.zeros(5, 1, 1, 1, 2)
    first[..., 0] = 1
    second = first.flip(-1)
    second[4] = first[4]
    found = transformed.cosines(first, second)
    assert (found["noisiest"], found["last quarter"], found["clean"]) == pytest.approx((0, 0, 1))


def test_null_embeddings_carried_are_those_of_the_middle_view(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(null_texts, "STEPS", 2)
    monkeypatch.setattr(null_texts, "INNER_STEPS", 1)
    scene = null_texts.Scene(BACKBONE, torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), ["a figure"] * 3)
    found = {row: scene.measure(row)[0] for row in null_texts.ROWS}
    assert found[null_texts.NOT][0]["drift_last"] == 0
    assert found[null_texts.OWN][1] == pytest.approx(found[null_texts.CARRIED][1]), "the middle view's own"
    assert found[null_texts.OWN][0]["drift_last"] != found[null_texts.CARRIED][0]["drift_last"] > 0
    assert len({view["drift_last"] for view in found[null_texts.SHARED]}) == 1


def test_what_a_pass_takes() -> None:
    assert cost.peak_of(lambda: [torch.zeros(2**18) for _ in range(3)]) == pytest.approx(3, abs=0.01)
    assert 1 <= cost.peak_of(lambda: [torch.zeros(2**18).sum() for _ in range(3)]) < 2, "freed at once"
    for make in cost.ROWS.values():
        assert cost.run_pass(BACKBONE, make, 0) > 0
