"""Scenes that are written when they are first asked for."""

import os
from pathlib import Path

import pytest

from qnerf.errors import UserError
from qnerf.planning.cells import plan_command
from qnerf.planning.light_checks import check_files, count_views
from qnerf.run import CONFIGS
from qnerf.scenes import on_demand
from qnerf.scenes.fingerprint import scene_fingerprint, scene_folder
from qnerf.scenes.on_demand import KINDS, WORLD, kind_and_seed, procedural_folder
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.procedural.world import WORLDS
from qnerf.scenes.scene import Scene


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(on_demand, "VIEWS", 2)
    return tmp_path


def test_a_scene_is_written_once_and_is_the_same_anywhere(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scene_folder("procedural:seat_7")
    assert folder.is_relative_to(cache)
    assert len(list((folder / "images").glob("*.png"))) == 2
    assert (folder / "truth").is_dir()
    written = (folder / "transforms.json").stat().st_mtime_ns
    assert scene_folder("procedural:seat_7") == folder
    assert (folder / "transforms.json").stat().st_mtime_ns == written
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "other"))
    other = scene_folder("procedural:seat_7")
    assert other != folder
    assert scene_fingerprint(other) == scene_fingerprint(folder)


def test_every_kind_of_the_world_has_a_name() -> None:
    assert tuple(WORLDS[WORLD]) == KINDS
    assert kind_and_seed("procedural:toy_12") == ("toy", 12)


@pytest.mark.parametrize("path", ["procedural:chair_3", "procedural:lamp", "procedural:lamp_-1", "procedural:../lamp_3"])
def test_other_names_are_refused(path: str) -> None:
    known = ", ".join(KINDS + on_demand.OTHER_EDITS)
    with pytest.raises(UserError, match=f"expected procedural:<kind>_<seed> with a kind of {known} and a whole number"):
        scene_folder(path)


def test_a_check_writes_nothing(cache: Path) -> None:
    cells = plan_command(["scene.path=procedural:lamp_3", "baselines=[oracle]"], CONFIGS).cells
    assert check_files(cells) == []
    assert count_views(cells[0]) == on_demand_views()
    assert not list(cache.rglob("transforms.json"))
    (error,) = check_files(plan_command(["scene.path=procedural:lmap_3"], CONFIGS).cells)
    assert "expected procedural:<kind>_<seed>" in error
    other = ["scene.path=procedural:lamp_3", "scene.proxy=/no/where.json", "baselines=[oracle]"]
    unwritten = check_files(plan_command(other, CONFIGS).cells)
    assert [line.split(":")[0] for line in unwritten] == ["scene.proxy", "oracle"]


def test_a_dry_run_knows_a_scenes_hash_and_leaves_none_behind(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = "procedural:lamp_3"
    with on_demand.nothing_kept():
        found = scene_fingerprint(scene_folder(path))
    assert "Drawing the procedural scene lamp_3, 2 views, for this dry run alone" in capsys.readouterr().err
    assert not list(cache.rglob("lamp_3"))
    written = scene_folder(path)
    assert scene_fingerprint(written) == found
    with on_demand.nothing_kept():
        assert scene_folder(path) == written, "one that is there is read where it is"


def on_demand_views() -> int:
    from qnerf.planning.light_checks import VIEWS  # as it was imported, before the fixture

    return VIEWS


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written .* set XDG_CACHE_HOME"):
        scene_folder("procedural:lamp_3")


@pytest.mark.parametrize("late", [False, True], ids=["while it was built", "while it was written"])
def test_a_scene_that_another_process_wrote_meanwhile(late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the faster one stays, and nothing else is left."""
    folder, original = procedural_folder("procedural:lamp_3"), os.replace

    def overtaken(*arguments: object, **keywords: object) -> Scene:
        (folder / "images").mkdir(parents=True)
        return build_scene(3, 2, kind="lamp", world=2)

    def replace(partial: Path, target: Path) -> None:
        overtaken()
        original(partial, target)

    if late:
        monkeypatch.setattr("qnerf.scenes.writer.os.replace", replace)
    else:
        monkeypatch.setattr("qnerf.scenes.procedural.build.build_scene", overtaken)
    assert scene_folder("procedural:lamp_3") == folder
    assert [path.name for path in folder.parent.iterdir()] == ["lamp_3"]
