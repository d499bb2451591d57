"""`qnerf measure` on folders as strangers have them: what is read, what is written, and every error in one answer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from qnerf.benchmark.leaderboard import read_entries
from qnerf.errors import UserError
from qnerf.fields.space import Space
from qnerf.measure_views import registration
from qnerf.measure_views.__main__ import main
from qnerf.measure_views.figures import settings
from qnerf.measure_views.page import rows_of
from qnerf.measure_views.reading import read_folders
from qnerf.metrics.radiance import depth_agreement
from qnerf.scenes.capture import View
from qnerf.scenes.fingerprint import scene_fingerprint
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.scene import Scene
from qnerf.scenes.writer import write_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(1, views=4, size=64, kind="lamp", world=2)


@pytest.fixture(scope="module")
def capture(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("capture") / "lamp_1"
    write_scene(folder, scene, 2)
    return folder


def test_the_true_views_have_no_error_and_all_is_written(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, out = capture / "truth", tmp_path / "out"
    given = [str(truth / "edited"), "--source", str(capture), "--truth", str(truth), "--no-field", "--out", str(out)]
    assert main([*given, "--commit", "abc"]) == 0
    record = json.loads((out / "measure.json").read_text())
    assert {**record["made"], "date": ""} == {"method": "edited", "commit": "abc", "weights": None, "date": ""}
    assert record["capture"] == {"name": str(capture), "fingerprint": scene_fingerprint(capture)[:16]}
    ((_, [entry]),) = read_entries(out)
    assert entry.figures["psnr_truth"].value == 100, "it is a row of a leaderboard"
    assert record["truth"]["psnr_truth"] == 100
    assert record["truth"]["warp_error_moved"] == record["truth"]["warp_error_moved_floor"]
    assert record["cameras"] == "source"
    assert record["size"] == [64, 64]
    assert set(record["geometry"]) <= set(record["source"]) | {"epipolar_error", "epipolar_inliers"}
    assert "--no-field" in record["left_out"]["held-out views and depth agreement of a radiance field"]
    printed, page = capsys.readouterr().out, (out / "measure.html").read_text()
    assert "PSNR, whole view ↑" in printed
    for name in (*record["truth"], *record["geometry"]):
        assert rows_of({name: 1.0})[0][0].removesuffix(" ↑").removesuffix(" ↓") in page


def test_pictures_alone_have_the_sources_cameras_at_their_own_size(capture: Path, scene: Scene, tmp_path: Path) -> None:
    for path in sorted((capture / "images").iterdir())[1:]:
        Image.open(path).resize((32, 32)).save(tmp_path / path.name)
    measured = read_folders(tmp_path, str(capture), None)
    assert measured.edited.view_names == ("001", "002", "003")
    assert (measured.edited.cameras.width, measured.edited.cameras.height) == (32, 32)
    assert torch.equal(measured.edited.cameras.focal, scene.cameras.focal[1:] / 2)
    assert measured.edited.images.shape == measured.source.images.shape == (3, 3, 32, 32)
    assert not measured.own_cameras
    assert any("3 of the 4 source views" in note for note in measured.notes)
    assert any("cut and scaled" in note for note in measured.notes)


def test_a_capture_brings_its_own_cameras_and_the_source_is_cut_to_its_shape(capture: Path, scene: Scene, tmp_path: Path) -> None:
    write_scene(tmp_path / "edit", replace(scene, cameras=replace(scene.cameras, focal=scene.cameras.focal * 1.5)), 2)
    document = json.loads((tmp_path / "edit" / "transforms.json").read_text())
    document.update(h=48, cy=document["cy"] - 8)
    (tmp_path / "edit" / "transforms.json").write_text(json.dumps(document))
    for path in (tmp_path / "edit" / "images").iterdir():
        Image.open(path).crop((0, 8, 64, 56)).save(path)
    measured = read_folders(tmp_path / "edit", str(capture), None)
    assert measured.own_cameras
    assert measured.edited.cameras.focal.allclose(scene.cameras.focal * 1.5)
    assert measured.source.cameras.focal.allclose(scene.cameras.focal)
    assert torch.equal(measured.source.images, measured.edited.images)
    assert torch.equal(measured.source.cameras.centre, measured.edited.cameras.centre)


def test_what_is_wrong_with_the_folders_is_told_together(capture: Path, tmp_path: Path) -> None:
    shutil.copy(capture / "images" / "000.png", tmp_path / "00.png")
    with pytest.raises(UserError) as error:
        read_folders(tmp_path, str(capture), tmp_path / "nowhere")
    for part in ("nowhere is no folder", "the view 00 is not in --source", "nearest: 00", "3 problems in the folders"):
        assert part in str(error.value)
    with pytest.raises(UserError, match=r"--source \S+neither does not exist[\s\S]*none is no folder"):
        read_folders(tmp_path / "none", str(tmp_path / "neither"), None)


def test_what_is_wrong_with_the_views_is_told_together(capture: Path, tmp_path: Path) -> None:
    for path in (capture / "images").iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "001.png").write_bytes(b"no picture")
    Image.new("RGB", (64, 40)).save(tmp_path / "002.png")
    with pytest.raises(UserError) as error:
        read_folders(tmp_path, str(capture), None)
    assert "001.png cannot be decoded" in str(error.value)
    assert "002.png has 64 x 40 pixels, its source view 64 x 64" in str(error.value)
    shutil.copy(capture / "images" / "001.png", tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "002.png")
    with pytest.raises(UserError, match="differ in size, 000 has 64 x 64 pixels, but 002 32 x 32"):
        read_folders(tmp_path, str(capture), None)


def test_a_wrong_option_is_one_sentence(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--source", str(capture)]) == 2
    assert "has no pictures" in capsys.readouterr().err


def test_true_pictures_without_depth_give_likeness_alone(capture: Path, tmp_path: Path) -> None:
    edited = capture / "truth" / "edited"
    given = [str(edited), "--source", str(capture), "--truth", str(edited), "--no-field", "--out", str(tmp_path)]
    assert main(given) == 0
    assert json.loads((tmp_path / "measure.json").read_text())["truth"] == pytest.approx({"psnr_truth": 100, "ssim_truth": 1})


def test_the_field_is_that_of_runs() -> None:
    from qnerf.config import RunSettings

    run = RunSettings.compose("+exp=articulation")
    assert settings().rgb_field == run.rgb_field
    assert settings().metrics == run.metrics


def test_depths_of_the_true_scene_agree_and_others_do_not(scene: Scene) -> None:
    assert scene.truth is not None
    space, depth = Space(scene.focus, scene.radius), scene.truth.depth_source
    true = depth_agreement(depth, scene.cameras, space, 0.02)
    wrong = depth.clone()
    wrong[::2] *= 1.1
    assert true > 0.3
    assert depth_agreement(wrong, scene.cameras, space, 0.02) < 0.5 * true
    assert np.isnan(depth_agreement(depth, scene.cameras, Space(scene.focus + 100, 0.1), 0.02))


def test_colmap_places_views_of_one_scene_and_counts_as_its_own_files_do(tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    from tests.metrics.test_epipolar import VIEWS
    from tests.metrics.test_epipolar import scene as walls

    figures = registration.registration_figures(walls())
    assert figures["registered_views"] == 1.0
    assert figures["reprojection_error"] < 1
    assert figures["track_length"] > 2
    assert registration.registration_figures(torch.rand(VIEWS, 3, 64, 64)) == {"registered_views": 0.0}


def test_without_colmap_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "find_spec", lambda name: None)
    assert "pip install" in str(registration.unavailable())
    monkeypatch.setattr(registration, "find_spec", lambda name: View)
    assert registration.unavailable() is None
