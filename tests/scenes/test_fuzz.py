"""Whatever a document holds, reading it gives a scene or one UserError of at most 600 characters; it opens nothing
outside of its folder and takes little memory. A thousand documents of every format: `pytest -m slow tests/scenes/test_fuzz.py`."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qnerf.errors import UserError
from qnerf.scenes.reader import read_scene
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import write_images
from tests.scenes.mutations import BAIT, FORMATS

OPENED: list[str] | None = None
CODE = tuple({os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2])})
MOST_MEMORY = 500 << 10  # KiB that the process may grow by


def note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(arguments[0], str):
        OPENED.append(os.path.realpath(arguments[0]))


sys.addaudithook(note)  # for good: Python has no way to take one off


@contextmanager
def opened() -> Iterator[list[str]]:
    """The files that are opened meanwhile."""
    global OPENED
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None


def read(settings: SceneSettings, which: str) -> str | None:
    """The message with which a scene is refused, None for one that is read. Any other exception is a fault."""
    try:
        read_scene(settings)
    except UserError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(which) from error
    return None


def fuzz(tmp_path: Path, name: str, count: int, seed: int) -> int:
    """How many of `count` mutated documents of a format were refused."""
    write, mutate = FORMATS[name]
    write_images(tmp_path / BAIT, ["000.png"])
    write(tmp_path / "whole")
    path = tmp_path / "scene" / ("list.json" if name == "list" else "")
    settings = SceneSettings(path=str(path), source_prompt="a ball", size=32)
    refused = 0
    for number in range(count):
        rng = random.Random(f"{name} {seed} {number}")
        shutil.copytree(tmp_path / "whole", tmp_path / "scene")
        mutate(tmp_path / "scene", rng)
        with opened() as files:
            message = read(settings, f"{name}, seed {seed}, number {number}")
        refused += message is not None
        assert message is None or len(message.encode().decode()) <= 600, f"{name}, {seed}, {number}: {message}"
        inside = str((tmp_path / "scene").resolve())
        outside = [file for file in files if not file.startswith((inside, *CODE))]
        assert not outside, f"{name}, {seed}, {number}: {outside}"
        shutil.rmtree(tmp_path / "scene")
    return refused


@pytest.mark.parametrize("name", FORMATS)
def test_a_few_mutated_documents(name: str, tmp_path: Path) -> None:
    assert fuzz(tmp_path, name, 4, seed=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_mutated_documents(name: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(tmp_path, name, int(os.environ.get("QNERF_FUZZ", "1000")), seed=2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
