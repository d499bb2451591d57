"""The scripts of experiments/ on a random backbone."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hydra import initialize_config_dir

from qnerf.run import CONFIGS
from qnerf.schedules.phases import plain_steps
from tests.schedules.helpers import layers, make_job, tiny_field

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
    changes = [change for group in study.STUDIES.values() for change in group if not change.endswith("²")]
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        plain = study.settings_of("asset:puppet_a").field
        assert plain.hold_out_every == 4
        for change in changes:
            assert study.settings_of("asset:puppet_a", change).field != plain, change


def test_the_field_study_measures_by_resolution() -> None:
    study = load("field/study.py")
    job, _ = make_job()
    chosen = layers(8, 10, 13)
    captured = study.Captured(job, plain_steps(job, job.trajectory.states[0], 0, 3, capture_at=(2,), layers=chosen)[1][2])
    field = tiny_field().model_copy(update={"hold_out_every": 2})
    found, seconds = study.explained(captured, field, None)
    sizes = [study.size_of(job, layer) for layer in chosen]
    assert list(found) == sizes
    assert seconds > 0
    alone, _ = study.explained(captured, field, sizes[1])
    assert list(alone) == [sizes[1]]
    assert alone[sizes[1]] != pytest.approx(found[sizes[1]])
    assert study.row("x", [({"8²": 0.5}, 2.0), ({"8²": 0.25}, 4.0)], ["8²", "16²"], 1.5) == "| x | 0.375 (0.50, 0.25) | - | 2.00 |"
