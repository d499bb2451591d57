"""Every shipped config composes and validates; every mistake is answered by a sentence that names
the remedy."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from qnerf.composing.overrides import REFUSALS, explain_refusal, first_value
from qnerf.config import MAIN_METHOD, RunSettings, check, parse
from qnerf.errors import UserError
from qnerf.run import CONFIGS
from qnerf.schedules.one_shot import OneShotSettings

GROUPS = (
    "inversion", "editor", "recorder", "field", "rgb_field", "source_field", "guidance", "schedule", "metrics", "tracker",
    "backbone",
)  # fmt: skip
# composed by another entry point, or by Hydra for itself
NOT_OF_THE_RUN = {"pretrain", "evaluate_backbone", "hydra"}


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def shipped() -> Iterator[str]:
    yield from (f"{group}={name}" for group in GROUPS for name in choices(group))
    yield from (f"baselines=[{name}]" for name in choices("baselines"))
    yield from (f"+exp={name}" for name in choices("exp"))
    yield "baselines=[]"


@pytest.fixture(autouse=True)
def hydra_configs() -> Iterator[None]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def settings_of(*overrides: str) -> RunSettings:
    return parse(compose("config", [*overrides, "scene.path=somewhere"]))


@pytest.mark.parametrize("override", list(shipped()))
def test_every_shipped_config_is_valid_and_says_how_to_run_it(override: str) -> None:
    # which transport has no use for
    settings_of(override, *(["schedule=progressive"] if override == "guidance=off" else []))


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_file_starts_with_its_command(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines()[:4] if line.startswith("#")]
    assert any("python -m qnerf." in line for line in comments), f"{path} does not say how to run it"


def test_every_group_is_known_to_this_test() -> None:
    folders = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert folders - NOT_OF_THE_RUN == {*GROUPS, "scene", "baselines", "exp"}


def test_the_default_is_the_articulation_experiment() -> None:
    assert parse(compose("config", [])) == parse(compose("config", ["+exp=articulation"]))


def test_methods_are_the_baselines_and_then_the_main_one() -> None:
    settings = settings_of("+exp=compare", "guidance.strength=0.07", "schedule.interval=3")
    methods = settings.methods()
    assert list(methods) == ["independent", "one_shot", "hard", "progressive", "posed", "oracle", MAIN_METHOD]
    assert methods["independent"].schedule.name == "independent"
    assert methods["one_shot"].guidance == methods["oracle"].guidance == settings.guidance
    assert methods["hard"].schedule == settings.schedule
    assert isinstance(methods["one_shot"].schedule, OneShotSettings)
    assert methods["one_shot"].schedule.interval == 3
    assert all(method.recorder == settings.recorder for method in methods.values())


@pytest.mark.parametrize("schedule", choices("schedule"))
def test_every_baseline_stands_beside_every_main_schedule(schedule: str) -> None:
    """A baseline that takes over settings of the main method must do without those that another
    schedule does not have."""
    methods = settings_of(f"schedule={schedule}", f"baselines=[{','.join(choices('baselines'))}]").methods()
    assert set(methods) == {*choices("baselines"), MAIN_METHOD}


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        settings_of().seed = 3  # pyright: ignore[reportAttributeAccessIssue]


def errors_of(*overrides: str) -> list[str]:
    """What a user would read: Hydra's refusals explained, and then the errors of the settings."""

    def errors(config: DictConfig) -> list[str]:
        return check(config)[0]

    try:
        return errors(compose("config", [*overrides]))
    except REFUSALS as refusal:
        return explain_refusal(refusal, overrides, CONFIGS, errors)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=-1", "seed: got -1; expected greater than or equal to 0"),
        ("seed=three", "seed: got 'three'; expected a valid integer"),
        ("device=gpu", "device: 'gpu' is not valid; expected one of auto, cpu, mps, cuda, cuda:1"),
        ("--guidance.strength=.1", "--guidance.strength=.1: not an option; write guidance.strength=.1 instead"),
        ("smoke", "smoke: not a valid override; write +exp=smoke for the experiment of that name"),
        ("guidance.name=quite_another", "; if it is a plug-in's, install the plug-in's package"),
        ("control.detail=bone", "control.detail: 'bone' is not valid; nearest valid: bones; expected one of"),
        ("guidance.strenght=.1", "guidance.strenght: unknown key; nearest valid: guidance.strength; expected one of"),
        ("+guidance.strenght=.1", "guidance.strenght: unknown key; nearest valid: strength; expected one of"),
        ("sed=1", "sed: unknown key; nearest valid: seed; expected one of"),
        ("guidance=sfot", "guidance=sfot: there is no guidance/sfot.yaml in conf/; nearest valid: soft; expected one of"),
        ("+exp=artculation", "+exp=artculation: there is no exp/artculation.yaml in conf/; nearest valid: articulation"),
        ("exp=articulation", "exp=articulation: exp has no default to replace; write +exp=articulation"),
        ("gudance=soft", "gudance: unknown key; nearest valid: guidance; expected one of"),
        ("baselines=[independnt]", "there is no baselines/independnt.yaml in conf/; nearest valid: independent"),
        ("+seed=1", "write seed=1 to change a key that exists"),
        ("scene=capture", "scene.path: no value given; set scene.path=… on the command line"),
        ("seed=[1", "seed=[1: not a valid override"),
        ("seed", "seed: not a valid override"),
        ("schedule.interval=1,2", "schedule.interval=1,2: several values need a sweep; add -m"),
        ("+exp=paper steps=5", "schedule.interval: got 5; expected less than steps, 5, or no field"),
        ("output_dir=${nowhere}", "output_dir: Interpolation key 'nowhere' not found"),
        ("+baselines.full={schedule:{name:independent},guidance:{name:off}}", "baselines.full: full is the name of the main"),
    ],
)
def test_one_mistake_is_one_sentence_with_the_remedy(override: str, expected: str) -> None:
    errors = errors_of(*override.split(" ") if override.startswith("+exp=paper") else [override])
    assert len(errors) == 1, errors
    assert expected in errors[0]


def test_mistakes_that_hydra_and_pydantic_find_come_together() -> None:
    errors = errors_of("sed=1", "guidance=sfot", "control.scale=-1", "chunk_size=0", "+exp=artculation")
    starts = [line.split(":")[0] for line in errors]
    assert set(starts) == {"+exp=artculation", "guidance=sfot", "sed", "chunk_size", "control.scale"}
    assert len(starts) == 5


def test_parse_raises_all_errors_in_one() -> None:
    with pytest.raises(UserError) as caught:
        parse(compose("config", ["seed=-1", "chunk_size=0"]))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "arguments",
    [["seed=-1"], ["+exp=artculation"], ["guidance=sfot", "sed=1"], ["-m", "guidance.strength=-1,2"], ["a b"]],
    ids=" ".join,
)
def test_a_typo_is_answered_in_a_sentence_with_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print(sorted({'torch', 'diffusers', 'transformers', 'wandb', 'cv2'} & set(sys.modules))))\n"
        "runpy.run_module('qnerf.run', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", code, *arguments, f"output_dir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("qnerf: ")
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() == "[]", "it comes in a second, since nothing heavy is imported"


def test_validation_imports_nothing_heavy() -> None:
    code = "import sys, qnerf.run; print(sorted({'torch', 'diffusers', 'transformers', 'wandb', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_value_of_a_sweep_stands_for_all() -> None:
    swept = ["a=1,2", "b=range(3,5)", "c=[1,2]", "d=x"]
    assert list(chain(map(first_value, swept))) == ["a=1", "b=3", "c=[1,2]", "d=x"]
