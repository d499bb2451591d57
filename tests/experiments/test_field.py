"""The study of the query field's settings, on a random backbone."""

import sys

import pytest
from hydra import initialize_config_dir

from qnerf.backbones.puppet import PuppetSettings
from qnerf.consolidation.phases import plain_steps
from qnerf.run import CONFIGS
from tests.experiments.scripts import load
from tests.schedules.helpers import BACKBONE, layers, make_job, tiny_field


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
    """At four small views and a few steps: a row for the default and for every variant asked for."""
    study = load("field/study.py")
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    small = [
        "scene.size=32",
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
