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
    """A package of five modules in place of qnerf's sources."""
    files = {
        "guidance/soft.py": "from qnerf.fields import heads\n",
        "fields/heads.py": "def f():\n    import qnerf.late\n    import torch\n",
        "late.py": "from qnerf.reports.sheet import x\n",
        "reports/sheet.py": "x = 1\n",
        "metrics/new.py": "y = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert qnerf.__spec__ is not None
    monkeypatch.setattr(qnerf.__spec__, "submodule_search_locations", [str(tmp_path)])
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for function in (sources.code_version, sources._imports, sources._source, sources._path):
        function.cache_clear()


def test_imports_are_followed_also_inside_functions_but_not_to_what_changes_no_result(package: Path) -> None:
    assert reachable("qnerf.guidance.soft") == {"qnerf.guidance.soft", "qnerf.fields.heads", "qnerf.late"}


@pytest.mark.parametrize(("changed", "counts"), [("late.py", True), ("reports/sheet.py", False), ("metrics/new.py", False)])
def test_the_version_changes_with_what_is_reached(changed: str, counts: bool, package: Path) -> None:
    before = code_version("qnerf.guidance.soft")
    (package / changed).write_text("z = 2\n")
    forget()
    assert (code_version("qnerf.guidance.soft") != before) == counts


def test_each_stage_reaches_its_own_code_alone() -> None:
    assert all(reachable(*modules) >= set(modules) for modules in CODE.values())
    inversion = reachable(*CODE["inversion"], "qnerf.inversions.null_text")
    edit = reachable(*CODE["edit"], "qnerf.schedules.progressive", "qnerf.editors.masactrl")
    assert {"qnerf.consolidation.phases", "qnerf.consolidation.consolidate", "qnerf.fields.encodings.warp_grid"} <= edit
    assert {"qnerf.consolidation.targets", "qnerf.denoising.energy"} <= reachable("qnerf.guidance.soft")
    assert not any(name.startswith("qnerf.metrics") for name in edit | inversion)
    assert not any(name.startswith(("qnerf.schedules", "qnerf.fields", "qnerf.guidance")) for name in inversion)
    assert not any(name.startswith("qnerf.scenes.procedural.") for name in inversion), "scenes count by their contents"
    assert "qnerf.scenes.readers.transforms" not in inversion, "only where it reads the scene"


def test_no_variant_counts_where_another_is_chosen() -> None:
    """A stage reaches the variants that it is given, and no others: a change to one changes no identity of a run without it."""
    chosen = ("qnerf.schedules.progressive", "qnerf.editors.masactrl", "qnerf.inversions.null_text", "qnerf.guidance.mixed")
    found = reachable(*(module for modules in CODE.values() for module in modules), *chosen)
    bases = {"editor", "base", "combined", "inversion", "guidance", "schedule", "intervals", "look_ahead"}
    kinds = ("qnerf.editors.", "qnerf.inversions.", "qnerf.guidance.", "qnerf.schedules.")
    assert {name for name in found if name.startswith(kinds) and name.rsplit(".", 1)[1] not in bases} == set(chosen)


def test_posing_and_kept_pixels_count_where_they_are_read_alone() -> None:
    """Another posing trains no query field anew, and an edit does not depend on what its output keeps of the source."""
    assert "qnerf.runs.posing" in CODE["posed"]
    assert "qnerf.fields.posing.posed_views" in reachable(*CODE["posed"])
    edit = reachable(*CODE["edit"], "qnerf.schedules.transport")
    assert not any(name.startswith(("qnerf.fields.posing", "qnerf.fields.source_field", "qnerf.scenes.kept")) for name in edit)
