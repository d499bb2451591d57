"""The version of the code: what a stage reaches, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import qnerf
from qnerf.common import sources
from qnerf.common.sources import code_version, reachable
from qnerf.runs.stages import CODE


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of four modules in place of qnerf's sources."""
    files = {
        "guidance/guides.py": "from qnerf.fields import heads\n",
        "fields/heads.py": "def f():\n    import qnerf.late\n    import torch\n",
        "late.py": "from qnerf.reports.sheet import x\n",
        "reports/sheet.py": "x = 1\n",
        "metrics/new.py": "y = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(qnerf, "__file__", str(tmp_path / "__init__.py"))
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for function in (sources.code_version, sources._imports, sources._source):
        function.cache_clear()


def test_imports_are_followed_also_inside_functions_but_not_to_what_changes_no_result(package: Path) -> None:
    assert reachable("qnerf.guidance.guides") == {"qnerf.guidance.guides", "qnerf.fields.heads", "qnerf.late"}


@pytest.mark.parametrize(("changed", "counts"), [("late.py", True), ("reports/sheet.py", False), ("metrics/new.py", False)])
def test_the_version_changes_with_what_is_reached(changed: str, counts: bool, package: Path) -> None:
    before = code_version("qnerf.guidance.guides")
    (package / changed).write_text("z = 2\n")
    forget()
    assert (code_version("qnerf.guidance.guides") != before) == counts


def test_each_stage_reaches_its_own_code_alone() -> None:
    assert all(reachable(*modules) >= set(modules) for modules in CODE.values())
    edit, inversion = reachable(*CODE["edit"]), reachable(*CODE["inversion"])
    assert {"qnerf.schedules.edit", "qnerf.schedules.stops", "qnerf.guidance.steps", "qnerf.fields.encodings.warp_grid"} <= edit
    assert {"qnerf.metrics.heldout", "qnerf.fields.rgb_field", "qnerf.fields.space"} <= reachable(*CODE["heldout"])
    assert not any(name.startswith("qnerf.metrics") for name in edit | inversion)
    assert not any(name.startswith(("qnerf.schedules", "qnerf.fields", "qnerf.guidance")) for name in inversion)
    assert not any(name.startswith("qnerf.scenes.procedural.") for name in inversion), "scenes count by their contents"
