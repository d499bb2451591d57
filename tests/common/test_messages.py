import subprocess
from typing import Annotated, Literal

import pytest
from omegaconf import OmegaConf
from pydantic import Field, ValidationError

from qnerf.common.messages import command_line, describe_error, nearest
from qnerf.settings import Settings


class Soft(Settings):
    name: Literal["soft"]
    strength: float = Field(gt=0)


class Off(Settings):
    name: Literal["off"]


class Method(Settings):
    guidance: Annotated[Soft | Off, Field(discriminator="name")]


class Root(Settings):
    seed: int = Field(ge=0)
    detail: Literal["bones", "box"]
    guidance: Annotated[Soft | Off, Field(discriminator="name")]
    methods: dict[str, Method]


GOOD = {
    "seed": 1,
    "detail": "box",
    "guidance": {"name": "soft", "strength": 0.1},
    "methods": {"a": {"guidance": {"name": "off"}}},
}


def errors_of(change: dict) -> list[str]:
    data = {**GOOD, **change}
    with pytest.raises(ValidationError) as caught:
        Root.model_validate(data)
    return [describe_error(error, Root, data) for error in caught.value.errors()]


def test_good_data_is_good() -> None:
    assert Root.model_validate(GOOD).seed == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sed": 3}, "sed: unknown key; nearest valid: seed; expected one of detail, guidance, methods, seed"),
        ({"detail": "bone"}, "detail: 'bone' is not valid; nearest valid: bones; expected one of bones, box"),
        ({"seed": -1}, "seed: got -1; expected greater than or equal to 0"),
        (
            {"guidance": {"name": "soft", "strenght": 1.0, "strength": 1.0}},
            "guidance.strenght: unknown key; nearest valid: strength; expected one of name, strength",
        ),
        (
            {"guidance": {"name": "sfot"}},
            "guidance.name: 'sfot' is not valid; nearest valid: soft; expected one of off, soft",
        ),
        ({"guidance": {"name": "soft"}}, "guidance.strength: missing; expected a value (guidance.strength=…)"),
        (
            {"methods": {"a": {"guidance": {"name": "off", "zzzz": 0}}}},
            "methods.a.guidance.zzzz: unknown key; expected one of name",
        ),
        ({"guidance": {}}, "guidance.name: missing; expected the name of a variant (conf/guidance/ lists them)"),
    ],
)
def test_each_error_names_key_problem_nearest_and_expected(change: dict, expected: str) -> None:
    assert errors_of(change) == [expected]


def test_all_errors_come_together() -> None:
    assert len(errors_of({"seed": -1, "detail": "x", "guidance": {"name": "soft", "strength": -1}})) == 3


def test_nothing_alike_gives_no_hint() -> None:
    assert nearest("qqqq", ["soft", "hard"]) is None


@pytest.mark.parametrize("words", [["a=b", "it's", "$HOME"], ["scene.target_prompt='a red\nfigure'", "back\\slash\té"]])
def test_a_command_is_one_line_that_a_shell_takes_as_it_was(words: list[str]) -> None:
    line = command_line(words)
    assert "\n" not in line
    told = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True).stdout
    assert told.split("\0")[:-1] == words
    assert OmegaConf.create(f"# {line}\nsteps: 4\n") == {"steps": 4}
