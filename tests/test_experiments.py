"""The scripts of experiments/ on a random backbone."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hydra import initialize_config_dir

from qnerf.consolidation.phases import plain_steps
from qnerf.run import CONFIGS
from tests.fields.posing.analytic import skeleton
from tests.schedules.helpers import BACKBONE, layers, make_job, tiny_field

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"experiment_{Path(script).stem}", EXPERIMENTS / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their types up
    spec.loader.exec_module(module)
    return module


def test_every_variant_of_the_field_study_is_a_setting() -> None:
    study = load("field/study.py")
    same = ("8²", "16²", "32²", study.WARM + "optimiser.iterations=400")  # other maps, or another start
    changes = [change for group in study.STUDIES.values() for change in group if change not in same]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = study.settings_of("asset:puppet_a").field
        assert plain.heldout_every == 4
        for change in changes:
            assert study.settings_of("asset:puppet_a", change).field != plain, change


def test_the_field_study_measures_by_resolution() -> None:
    study = load("field/study.py")
    job, _ = make_job()
    chosen = layers(8, 10, 13)
    _, queries = plain_steps(job, job.trajectory.states[0], 0, 3, record_at=(1, 2), layers=chosen)
    recorded = study.Recorded(job, queries[2], queries[1])
    field = tiny_field().model_copy(update={"heldout_every": 2})
    found, seconds = study.explained(recorded, field, "")
    sizes = [study.size_of(job, layer) for layer in chosen]
    assert list(found) == sizes
    assert seconds > 0
    alone, _ = study.explained(recorded, field, sizes[1])
    assert list(alone) == [sizes[1]]
    assert alone[sizes[1]] != pytest.approx(found[sizes[1]])
    warm, _ = study.explained(recorded, field, study.WARM + "optimiser.iterations=2")
    assert warm != found
    assert study.row("x", [({"8²": 0.5}, 2.0), ({"8²": 0.25}, 4.0)], ["8²", "16²"], 1.5) == "| x | 0.375 (0.50, 0.25) | - | 2.00 |"


@pytest.mark.integration
def test_the_field_study_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the embedded backbone, at four views and a few steps: a row for the default and for every variant asked for."""
    study = load("field/study.py")
    small = [
        "scene.views=4",
        "steps=4",
        "schedule.interval=1",
        "field.heldout_every=2",
        "field.optimiser.rays_per_batch=64",
    ]
    monkeypatch.setattr(study, "BASE", small)
    monkeypatch.setattr(study, "STUDIES", {"few": ["optimiser.iterations=2"], "warm": [study.WARM + "optimiser.iterations=1"]})
    monkeypatch.setattr(study, "STEP", 1)
    monkeypatch.setattr(study, "EARLIER", 0)
    monkeypatch.setattr(sys, "argv", ["study.py", "--scenes", "asset:puppet_a", "--only", "few,warm"])
    study.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in rows] == [
        "field", "the default", "`optimiser.iterations=2`", "`optimiser.iterations=1`, started from the field of step 0",
    ]  # fmt: skip


def test_the_study_of_posing_makes_a_proxy_as_wrong_as_it_says() -> None:
    study = load("field/posing.py")
    joints = [[0.0, 0.0, -0.5], [0.0, 0.0, 0.3], [0.35, 0.0, 0.3], [0.35, 0.0, -0.3]]
    proxy = skeleton(joints, [*joints[:3], [0.95, 0.0, 0.3]], ((0, 1), (1, 2), (2, 3)))
    found = dict(study.errors(proxy, ["joints", "states"], 2))
    assert found["none"] == [proxy]
    assert len(found["states 10 %"]) == 2
    for name, share in (("joints 5 %", 0.05), ("states 10 %", 0.1)):
        away = (found[name][0].source - proxy.source).norm(dim=-1)
        torch.testing.assert_close(away, torch.full((4,), share * study.extent(proxy)))
    for wrong in found["joints 5 %"]:
        torch.testing.assert_close(wrong.source[:3], wrong.target[:3])
        before, after = wrong.source[3] - proxy.source[3], wrong.target[3] - proxy.target[3]
        turned = torch.stack([-before[2], before[1], before[0]])  # the arm turns from -z to x
        torch.testing.assert_close(after, turned, atol=1e-5, rtol=0)
    assert study.rank(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([9.0, 4.0, 1.0])) == pytest.approx(-1)
    arm = study.parts_of(proxy, study.PosingSettings(), torch.device("cpu"))[2]
    wrong = study.twisted(arm, 30.0)
    torch.testing.assert_close(wrong.motion.back(proxy.target[2:]), proxy.source[2:])  # its joints stay
    twist = wrong.motion.rotation @ arm.motion.rotation.T  # of the source's arm, about z
    torch.testing.assert_close(twist[2, 2], torch.tensor(1.0))
    assert twist[0, 0] == pytest.approx(3**0.5 / 2, abs=1e-5)


@pytest.mark.integration
def test_the_study_of_posing_runs_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study = load("field/posing.py")
    monkeypatch.setattr(study, "FIELDS", {"views": (6,), "quality": (0.5,)})
    small = ["scene.size=32", "scene.views=4", "source_field.optimiser.iterations=20", "source_field.optimiser.rays_per_batch=128"]
    coarse = ["posing.voxels=16", "posing.samples=16"]
    arguments = ["--scenes", "asset:puppet_a", "--only", "views,quality,joints", "--seeds", "1", "--views", "2"]
    monkeypatch.setattr(sys, "argv", ["posing.py", *arguments, "--into", str(tmp_path / "rows.md"), *small, *coarse])
    for again in (False, True):
        study.main()
        rows = [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| puppet_a")]
        assert rows == (
            ["joints 10 %"] if again else ["6 views", "0.5 of the steps", "none", "joints 2 %", "joints 5 %", "joints 10 %"]
        )
        kept = (tmp_path / "rows.md").read_text().splitlines()
        (tmp_path / "rows.md").write_text("\n".join(kept[:-1]) + "\n")  # as if it were broken off before the last


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
    assert image.measure(study.ROWS["direct, γ 7.5"])["psnr"] > 80, "the source comes back"
    null_text = image.measure(study.Row("null_text inversion.inner_steps=2 inversion.early_stop=0 inversion.early_stop_growth=0"))
    assert null_text["inner_steps"] == "2 2"
    path = tmp_path / "results.csv"
    rows = ["row,image,psnr,ssim,mse,inner_steps", '"ddim, γ 1",0,20,0.5,0.01,', '"ddim, γ 1",1,30,0.7,0.001,']
    path.write_text("\n".join([*rows, '"null-text, γ 7.5",0,25,0.6,0.003,1 4 4']))
    lines = study.table([path]).splitlines()
    assert lines[2] == "| ddim, γ 1 | 2 | 25.00 ± 7.1 | 0.6000 | 5.50 |"
    assert lines[-1] == "Null-text: 3.00 forward and backward passes a step (1: 33%, 4: 67%)."
