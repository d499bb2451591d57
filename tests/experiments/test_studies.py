"""Studies by name: what they claim, what holds, and their reports."""

from pathlib import Path

import pytest
import torch

from experiments import __main__ as commands
from experiments import studies
from experiments.claims import Claim, judge
from experiments.results import first_pictured, picture
from qnerf.backbones.revision import weights_revision
from qnerf.config import RunSettings
from qnerf.scenes.images import write_image


def test_each_study_reads_rows_there_are() -> None:
    for study in studies.STUDIES.values():
        assert set(study.rows) <= set(study.script.ROWS)
        for claim in study.claims:
            assert {claim.better, claim.worse} <= set(study.rows)


def test_a_verdict_is_of_the_images_that_have_both_rows() -> None:
    claim = Claim("a beats b by 1", "-", "psnr", "a", "b", 1.0)

    def found(*values: tuple[str, int, float]) -> list[dict[str, str]]:
        return [{"row": row, "image": str(image), "psnr": str(value)} for row, image, value in values]

    few = judge(claim, found(("a", 0, 25), ("b", 0, 23), ("a", 1, 30)))
    assert (few.ours, few.images, few.in_words) == ("25.00 against 23.00", 1, "holds, so far")
    assert judge(claim, found(("a", 0, 25))).in_words == "not measured"
    even = [("a", image, 20.0 + (image % 2) * 4) for image in range(8)] + [("b", image, 20.5) for image in range(8)]
    assert judge(claim, found(*even)).in_words == "not shown: within its error"
    lower = [("a", image, 20.0 + image) for image in range(8)] + [("b", image, 19.5 + image) for image in range(8)]
    assert judge(claim, found(*lower)).in_words == "does not hold", "it is better, by less than was claimed"
    clear = [("a", image, 22.0 + image) for image in range(8)] + [("b", image, 20.0 + image) for image in range(8)]
    assert judge(claim, found(*clear)).in_words == "holds"


def test_studies_are_run_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is measured already is not measured again; a report has claims, verdicts and pictures."""
    folder = tmp_path / "inversions"
    (folder / "pictures").mkdir(parents=True)
    rows = [f'"{row}",0,{30 - place},0.9,0.001,' for place, row in enumerate(studies.STUDIES["U2"].rows)]
    (folder / "results.csv").write_text("\n".join(["row,image,psnr,ssim,mse,inner_steps", *rows]))
    for row in ("autoencoder", *studies.STUDIES["U2"].rows):
        write_image(studies.inversions.picture(folder, row, 0), torch.rand(3, 32, 32).numpy())
    monkeypatch.setattr(studies.inversions.Image, "measure", None)
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path)]) == 0
    told = (folder / "U2.md").read_text()
    assert "| uniform maps beat a wrong prompt at γ 7.5 by 1 dB | by figures | 30.00 against 28.00 | 1 | holds, so far |" in told
    assert "| ddim, wrong prompt, γ 1 | 1 | 29.00 | 0.9000 | 1.00 |" in told
    assert (folder / "U2.png").exists()
    assert commands.main(["run", "U9"]) == 2
    assert "'U9' is not built; nearest valid: U" in capsys.readouterr().err
    assert commands.main(["list"]) == 0
    assert "J28" in capsys.readouterr().out


def test_a_study_goes_on_from_what_the_repository_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of these weights; not with --anew, and not over what was measured."""
    home, rows = tmp_path / "experiments", studies.STUDIES["U2"].rows
    kept = home / "inversions/kept" / str(weights_revision(RunSettings.compose().backbone))
    kept.mkdir(parents=True)
    (home / "inversions/kept/another").mkdir()
    lines = ["row,image,psnr,ssim,mse,inner_steps", *(f'"{row}",0,{30 - place},0.9,0.001,' for place, row in enumerate(rows))]
    (kept / "results.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(commands, "EXPERIMENTS", home)
    monkeypatch.setattr(studies.inversions, "measure_all", lambda *_: None)
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "Begun with 3 figures that the repository keeps" in told
    assert "30.00 against 28.00" in told
    assert "No pictures: all figures are kept ones" in told
    found = tmp_path / "out/inversions/results.csv"
    found.write_text(lines[0] + "\n")
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path / "out")]) == 0
    assert "Begun with" not in capsys.readouterr().out
    assert commands.main(["run", "U2", "--images", "1", "--anew", "--output", str(tmp_path / "out")]) == 2
    assert "is there, and --anew begins with nothing: give another --output" in capsys.readouterr().err
    assert commands.main(["run", "U2", "--images", "1", "--anew", "--output", str(tmp_path / "anew")]) == 0
    assert "Begun with" not in capsys.readouterr().out
    (kept / "results.csv").write_text("row,image,psnr\n")
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path / "third")]) == 2
    assert "begins with 'row,image,psnr', expected row,image,psnr,ssim" in capsys.readouterr().err


def test_a_sheet_shows_images_that_have_all_pictures_if_there_are_some(tmp_path: Path) -> None:
    found = [{"row": row, "image": str(image)} for image in range(4) for row in "ab"]
    (tmp_path / "pictures").mkdir()
    assert first_pictured(tmp_path, found, "abc", 2) == []
    for image, row in ((1, "a"), (2, "a"), (3, "b")):
        picture(tmp_path, row, image).touch()
    assert first_pictured(tmp_path, found, "abc", 2) == [1, 2]
    picture(tmp_path, "b", 2).touch()
    assert first_pictured(tmp_path, found, "abc", 2) == [2]


def test_what_is_in_the_way_of_a_study_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err
    (tmp_path / "inversions").mkdir()
    (tmp_path / "inversions/results.csv").write_text("a,b\n1,2\n")
    assert commands.main(["run", "U2", "--images", "1", "--output", str(tmp_path)]) == 2
    assert "begins with 'a,b', expected the columns of a study's results" in capsys.readouterr().err
