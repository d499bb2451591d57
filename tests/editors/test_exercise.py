"""The exercise of docs/contributing.md: an editor that is one file, one YAML file and one test, as they stand there."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
import yaml

from qnerf.run import CONFIGS


def test_the_exercise_s_three_files_are_an_editor(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (CONFIGS.parent / "docs" / "contributing.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w/]+\.(?:py|yaml))`:\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    code, config, tests = (
        files[name] for name in ("qnerf/editors/faithful.py", "conf/editor/faithful.yaml", "tests/editors/test_faithful.py")
    )
    module = ModuleType("qnerf.editors.faithful")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "faithful.py", "exec"), module.__dict__)
    given = yaml.safe_load(config)
    settings = module.FaithfulSettings.model_validate(given)
    assert set(given) == set(module.FaithfulSettings.model_fields) - {"additions"}, "the file holds every key"
    assert settings == module.FaithfulSettings(name="faithful")
    found: dict[str, object] = {}
    exec(compile(tests, "test_faithful.py", "exec"), found)
    run = [test for name, test in found.items() if name.startswith("test_") and callable(test)]
    assert len(run) == 2
    for test in run:
        test()
