from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from qnerf.config import RunSettings, parse
from qnerf.run import CONFIGS
from qnerf.runs.identity import digest, hash_code, identity


def settings_of(*overrides: str) -> RunSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", list(overrides)))


def name_of(*overrides: str) -> str:
    return identity(settings_of(*overrides), "scene", "weights", "code")


@pytest.mark.parametrize(
    "override",
    ["device=cpu", "chunk_size=1", "output_dir=elsewhere", "tracker=wandb", "experiment=other", "scene.path=moved"],
)
def test_what_cannot_change_a_result_is_no_part_of_the_identity(override: str) -> None:
    assert name_of(override) == name_of()


@pytest.mark.parametrize(
    "override",
    ["seed=1", "guidance.strength=0.5", "schedule.interval=4", "control.detail=bones", "scene.views=6", "baselines=[]",
     "inversion.steps=29", "field.optimiser.iterations=7", "metrics=quick", "editor=plain"],
)  # fmt: skip
def test_every_other_setting_is(override: str) -> None:
    assert name_of(override) != name_of()


def test_scene_weights_and_code_are_part_of_the_identity() -> None:
    settings = settings_of()
    names = {identity(settings, *parts) for parts in (("a", "b", "c"), ("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x"))}
    assert len(names) == 4


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": [2, 3]}) != digest({"a": [3, 2]})


def test_code_hash_sees_the_method_but_not_the_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import qnerf

    for folder in ("guidance", "reports"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text("a = 1\n")
    monkeypatch.setattr(qnerf, "__file__", str(tmp_path / "__init__.py"))
    before = hash_code()
    (tmp_path / "reports" / "x.py").write_text("a = 2\n")
    assert hash_code() == before
    (tmp_path / "guidance" / "x.py").write_text("a = 2\n")
    assert hash_code() != before
