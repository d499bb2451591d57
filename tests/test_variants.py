"""Variants stand by themselves: nobody else names one, and what does not fit is refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
from hydra import compose, initialize_config_dir

from qnerf import variants as registry
from qnerf.common import plugins
from qnerf.config import check
from qnerf.editors.editor import EditorSettings
from qnerf.errors import UserError
from qnerf.guidance.guidance import GuidanceSettings
from qnerf.metrics.registry import registered
from qnerf.run import CONFIGS
from qnerf.scenes.readers.reader import Reader, reader_of, readers
from qnerf.variants import KINDS, problems, union, variants

PACKAGE = CONFIGS.parent / "qnerf"
MAY_NAME = {  # what a module may import of a variant's, and why
    ("backbones/revision.py", "qnerf.backbones.puppet"): "it seals the embedded model's folder",
    ("evaluate_backbone/groups/cost.py", "qnerf.backbones.puppet"): "it measures the embedded model's files",
    ("evaluate_backbone/settings.py", "qnerf.backbones.puppet"): "it measures the embedded model",
    ("pretrain/diffusion.py", "qnerf.backbones.puppet"): "it trains the embedded model, from its folder",
    ("pretrain/export.py", "qnerf.backbones.puppet"): "it writes the embedded model's folder",
    ("pretrain/initialise.py", "qnerf.backbones.puppet"): "it starts from the embedded model",
}
MAY_COMPARE = {  # what a module may compare a `.name` with, and why
    ("reports/report.py", "oracle"): "a method of the results: it is no rival",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package by its path in it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def homes() -> dict[str, str]:
    """The module of each of the package's own variants, and its path in the package."""
    own = [value.__module__ for kind in KINDS for value in registry._own(kind).values()]
    return {module: module.removeprefix("qnerf.").replace(".", "/") + ".py" for module in own}


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_module_but_its_own_imports_a_variant() -> None:
    places = homes()
    assert len(places) > 15
    found = {(path, name) for path, tree in modules() for name in imported(tree) if name in places and path != places[name]}
    assert found == set(MAY_NAME), "ask the variant, by a method of its settings or of what it builds"


def test_no_module_asks_which_variant_it_has() -> None:
    names = {name for kind in KINDS for name in registry._own(kind)}
    found = set()
    for path, tree in modules():
        for node in ast.walk(tree):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            sides = [node.subject] if isinstance(node, ast.Match) else sides
            if any(isinstance(side, ast.Attribute) and side.attr == "name" for side in sides):
                said = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and each.value in names}
                found |= {(path, name) for name in said}
    assert found == set(MAY_COMPARE), "ask the variant, by a method of its settings or of what it builds"


class AgainSettings(EditorSettings):
    name: Literal["masactrl"]


class AsideSettings(GuidanceSettings):
    name: Literal["aside"]


TRANSFORMS = Reader("transforms", "x.json", Path.exists, lambda folder: ({}, []), lambda folder: [])
LISTING = Reader("listing", "views.txt", lambda folder: (folder / "views.txt").exists(), TRANSFORMS.read, TRANSFORMS.files)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Pretends that a package is installed, with one entry point."""

    def pretend(group: str, value: str) -> None:
        points = [EntryPoint("mine", value, group)]
        monkeypatch.setattr(plugins, "entry_points", lambda group: [point for point in points if point.group == group])
        forget()

    def forget() -> None:
        for function in (variants, readers, registered):
            function.cache_clear()

    yield pretend
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nowhere_at_all:X", "cannot be imported (No module named 'nowhere_at_all'); correct or uninstall that package"),
        ("qnerf.settings:NoSuch", "cannot be imported"),
        (f"{__name__}:LISTING", "expected a subclass of qnerf.editors.editor.EditorSettings with `name: Literal[…]`"),
        (f"{__name__}:AsideSettings", "expected a subclass of qnerf.editors.editor.EditorSettings"),
        ("qnerf.editors.editor:EditorSettings", "expected a subclass of qnerf.editors.editor.EditorSettings"),
        (
            f"{__name__}:AgainSettings",
            "two variants of qnerf.editors are named 'masactrl': qnerf.editors.masactrl.MasaCtrlSettings",
        ),
    ],
    ids=["no module", "no such name", "a reader", "another kind", "no name", "a name that is taken"],
)
def test_an_entry_point_that_does_not_fit_is_refused_in_one_sentence(value: str, expected: str, install: Any) -> None:
    install("qnerf.editors", value)
    with pytest.raises(UserError) as caught:
        variants("editors")
    assert expected in str(caught.value)
    assert f"entry point 'mine' of qnerf.editors ({value}, installed by " in str(caught.value)
    assert problems() == [str(caught.value)]
    assert union("editors"), "an import does not fail"
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        assert check(compose("config", [])) == (problems(), None)


def test_metrics_that_do_not_fit_are_an_error_of_the_config(install: Any) -> None:
    install("qnerf.metrics", f"{__name__}:LISTING")
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        [error], settings = check(compose("config", []))
    assert settings is None
    assert "expected a tuple of qnerf.metrics.registry.Metric" in error


def test_readers_are_chosen_by_what_a_folder_has_or_by_name(tmp_path: Path, install: Any) -> None:
    install("qnerf.readers", f"{__name__}:LISTING")
    with pytest.raises(UserError) as caught:
        reader_of(tmp_path)
    missing = (
        "sparse/0/cameras.bin is missing (reader colmap), poses_bounds.npy is missing (reader llff), "
        "an .npz file with extrinsics and intrinsics is missing (reader npz), "
        "transforms.json is missing (reader transforms), views.txt is missing (reader listing)"
    )
    assert str(caught.value) == f"{tmp_path} has no posed images ({missing}): give a folder that has one of these."
    (tmp_path / "views.txt").touch()
    assert reader_of(tmp_path) == LISTING
    (tmp_path / "transforms.json").touch()
    with pytest.raises(
        UserError, match=r"has transforms\.json \(reader transforms\) and views\.txt \(reader listing\), expected one"
    ):
        reader_of(tmp_path)
    assert reader_of(tmp_path, "listing") == LISTING
    with pytest.raises(UserError, match=r"scene\.reader: 'lisitng' is not valid; nearest valid: listing; expected one of"):
        reader_of(tmp_path, "lisitng")
    with pytest.raises(UserError, match=r"is a file, expected a folder with .* or transforms\.json or views\.txt"):
        reader_of(tmp_path / "views.txt")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            f"{__name__}:TRANSFORMS",
            "two readers are named 'transforms', in qnerf.scenes.readers.transforms and in entry point 'mine'",
        ),
        (f"{__name__}:PACKAGE", "expected a qnerf.scenes.readers.reader.Reader"),
    ],
    ids=["a name that is taken", "no reader"],
)
def test_readers_that_do_not_fit_are_refused(value: str, expected: str, install: Any, tmp_path: Path) -> None:
    install("qnerf.readers", value)
    with pytest.raises(UserError) as caught:
        reader_of(tmp_path)
    assert expected in str(caught.value)
