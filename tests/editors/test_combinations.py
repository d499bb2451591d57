"""Choices of editors on a command line: those that combine, those that do not, and the words that they look for."""

from __future__ import annotations

import re
from itertools import permutations

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from qnerf import run
from qnerf.composing.overrides import editor_clashes
from qnerf.config import RunSettings, check
from qnerf.editors.combined import combination_problem
from qnerf.errors import UserError
from qnerf.planning.cells import plan_command
from qnerf.planning.light_checks import check_files
from qnerf.run import CONFIGS
from qnerf.runs.identity import Inputs
from qnerf.runs.stages import Stages
from qnerf.variants import variants

EDITORS = sorted(set(variants("editors")) - {"plain"})
ADDITIONS = sorted(variants("editors.additions"))
INPUTS = Inputs("scene", "weights")


def found(*overrides: str) -> tuple[list[str], RunSettings | None]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return check(compose("config", [*overrides, "scene.path=somewhere"]))


def of(*overrides: str) -> RunSettings:
    errors, settings = found(*overrides)
    assert settings is not None, errors
    return settings


def test_two_editors_are_refused_in_a_sentence() -> None:
    """In any order, by whichever key only one of them has; `plain` has none of its own, so that nothing is left of it."""
    files = {
        name: yaml.safe_load((CONFIGS / "editor" / f"{name}.yaml").read_text(encoding="utf-8")) for name in (*EDITORS, "plain")
    }
    for pair in (*permutations(EDITORS, 2), *((name, "plain") for name in EDITORS)):
        told = combination_problem("editor", files[pair[0]] | files[pair[1]]) or ""
        assert f"is of editor={pair[0]}, but {pair[1]} was chosen too; both say what the model attends to" in told
        assert f"beside it any of {', '.join(ADDITIONS)}" in told
    (told,), settings = found("editor=[masactrl,fpe,adaptive_mask]")
    assert settings is None
    assert told.startswith("editor: start is of editor=masactrl, but fpe was chosen too")


def test_additions_go_over_any_editor_and_by_themselves_over_plain() -> None:
    every = of(f"editor=[{','.join((*ADDITIONS, 'fpe'))}]").editor
    assert every.name == "fpe"
    assert sorted(every.additions) == ADDITIONS
    assert of("editor=adaptive_mask").editor == of("editor=[plain,adaptive_mask]", "editor.keep_background=true").editor
    assert of("editor=[masactrl,adaptive_mask]", "editor.start=0.5").editor.model_dump()["start"] == 0.5
    (told,), _ = found("editor=[masactrl,adaptive_mask]", "editor.additions.adaptive_mask.quantile=3")
    assert told == "editor.additions.adaptive_mask.quantile: got 3; expected less than or equal to 1"


def test_an_editor_alone_is_what_it_was_and_an_addition_is_another_run() -> None:
    """Written down and read again, with and without additions; no additions leave no trace."""
    alone, both = of("editor=masactrl"), of("editor=[masactrl,adaptive_mask]")
    assert "additions" not in alone.model_dump(mode="json")["editor"]
    assert "additions" not in alone.editor.counted(alone.steps)
    for settings in (alone, both):
        again = RunSettings.model_validate(OmegaConf.to_container(OmegaConf.create(settings.model_dump(mode="json"))))
        assert again == settings
    names = {Stages(settings, INPUTS).identity() for settings in (alone, both, of("editor=[masactrl,sdedit]"))}
    assert len(names) == 3


def test_a_misspelt_word_is_told_before_a_scene_is_read() -> None:
    """The demo scene's prompts are in its folder; of two methods with one editor it is told once."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        _, settings = check(compose("config", ["editor=p2p", "+editor.weights.shrit=2", "baselines=[independent]"]))
    assert settings is not None
    (told,) = check_files([settings])
    assert told.startswith("editor.weights: 'shrit' is not in the prompt 'a figure with light skin in a red shirt")
    assert "nearest valid: shirt" in told


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("editor=[plain,masactrl]", "plain changes nothing that the model attends to, so that it does not go with masactrl"),
        ("editor=[masactrl, plain, sdedit]", "plain changes nothing"),
        ("editor=[masactrl,masactrl]", "masactrl is chosen twice; expected each once"),
        ("editor=[sdedit,fpe,sdedit]", "sdedit is chosen twice"),
        ("editor=[plain,fpe],pnp", "plain changes nothing"),
    ],
)
def test_an_editor_that_would_vanish_is_refused(override: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run, by a check of a command line and from Python."""
    (told,) = plan_command([override], CONFIGS).errors
    assert told.startswith(f"{override}: {message}")
    with pytest.raises(UserError, match=re.escape(message)):
        RunSettings.compose(override)
    monkeypatch.setattr("sys.argv", ["run", override])
    with pytest.raises(SystemExit, match="2"):
        run.main()


@pytest.mark.parametrize(("inversion", "scale"), [("ddim", 1.0), ("null_text", 7.5), ("ddpm", 15.0)])
def test_an_edit_of_an_image_has_the_scale_of_its_inversion(inversion: str, scale: float) -> None:
    settings = RunSettings.compose("+exp=edit_image", "image=a.png", "prompt=a", "target=b", "editor=fpe", f"inversion={inversion}")
    assert settings.edit_scale(settings.methods()["full"]) == scale


def test_editors_that_do_not_clash_are_left_alone() -> None:
    assert editor_clashes(["editor=[plain,sdedit]", "editor=fpe,plain", "editor=[fpe,sdedit],[pnp,sdedit]", "steps=4", "-m"]) == []


@pytest.mark.parametrize("name", [*EDITORS, *ADDITIONS])
def test_no_editor_s_file_is_long(name: str) -> None:
    kind = variants("editors") if name in EDITORS else variants("editors.additions")
    folder = "editors" if name in EDITORS else "editors/additions"
    assert kind[name].__module__ == f"qnerf.{folder.replace('/', '.')}.{name}"
    path = CONFIGS.parent / "qnerf" / folder / f"{name}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize(
    ("words", "acts"),
    [
        (["editor=sdedit", "schedule.skip=0.5"], False),
        (["editor=sdedit", "editor.additions.sdedit.strength=0.5", "schedule.skip=0.5"], True),
        (["editor=layout_control", "inversion=ddpm"], False),
        (["editor=self_guidance", "editor.additions.self_guidance.words=[figure]", "schedule.skip=0.2"], False),
        (["editor=attend_and_excite", "schedule.skip=0.5"], False),
        (["editor=adaptive_mask", "schedule.skip=0.5"], True),
        (["editor=sdedit", "inversion=ddpm", "inversion.skip=0"], None),
        (["editor=sdedit", "schedule.start=posed", "schedule.start_at=0"], None),
        (["editor=sdedit", "schedule.start=anchor_warp", "schedule.start_at=0"], None),
    ],
)
def test_an_addition_that_acts_before_the_edit_begins_or_starts_elsewhere_is_refused(words: list[str], acts: bool | None) -> None:
    """acts None: it would draw the noise that the edit is to start from."""
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("config", ["schedule=independent", "guidance=off", "baselines=[]", *words])
    errors, settings = check(config)
    assert (settings is not None) == bool(acts), errors
    assert acts or ("it acts before step" if acts is False else "it starts from noise that it draws itself, but") in errors[0]
