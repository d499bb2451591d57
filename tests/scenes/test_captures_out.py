"""Exported captures are read back as what they were, in the world's own axes and units."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qnerf import export
from qnerf.scenes.captures_out import WRITERS, quaternion
from qnerf.scenes.colmap_model import Image
from qnerf.scenes.focus import FLIP
from qnerf.scenes.reader import read_scene
from qnerf.scenes.readers.colmap import pose_of
from qnerf.scenes.readers.reader import reader_of
from qnerf.scenes.settings import SceneSettings
from tests.scenes.captures import POSES, SIZE, document, write_capture


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("own", [False, True])
def test_an_export_is_read_back(to: str, own: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """own: every frame has intrinsics of its own, and the world lies 5000 away."""
    changed = document()
    poses = POSES + np.pad(np.full((3, 1), 5000.0 * own), ((0, 1), (3, 0)))
    for view, (frame, pose) in enumerate(zip(changed["frames"], poses, strict=True)):
        frame |= {"transform_matrix": pose.tolist(), **({"fl_x": 50.0 + view, "cx": 23.0} if own else {})}
    run, out = write_capture(tmp_path / "run", changed), tmp_path / "out"
    assert export.main([str(run), "--to", to, "--out", str(out)]) == 0
    assert "4 views" in capsys.readouterr().out
    expected, found = (reader_of(folder).read(folder)[1] for folder in (run, out))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other.pose, one.pose, atol=1e-9)
        assert {key: other.numbers[key] for key in one.numbers} == pytest.approx(one.numbers, abs=1e-9)
        assert other.image.read_bytes() == one.image.read_bytes()
    settings = [SceneSettings(path=str(folder), size=SIZE, source_prompt="") for folder in (run, out)]
    first, second = map(read_scene, settings)
    assert first.view_names == second.view_names
    np.testing.assert_allclose(first.cameras.camera_to_world, second.cameras.camera_to_world, atol=1e-6)
    assert export.main([str(run), "--to", to, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_pycolmap_reads_an_exported_model(tmp_path: Path) -> None:
    pycolmap = pytest.importorskip("pycolmap")
    run, out = write_capture(tmp_path / "run", document()), tmp_path / "out"
    assert export.main([str(run), "--to", "colmap", "--out", str(out)]) == 0
    model = pycolmap.Reconstruction(str(out / "sparse/0"))
    expected = {Path(frame.file_path).name: frame for frame in reader_of(run).read(run)[1]}
    assert len(model.images) == len(expected)
    for image in model.images.values():
        inverse = np.linalg.inv(np.vstack([image.cam_from_world().matrix(), [0, 0, 0, 1]]))
        frame = expected[Path(image.name).name]
        np.testing.assert_allclose(inverse @ np.diag([1.0, -1, -1, 1]), frame.pose, atol=1e-6)
        assert image.camera.focal_length_x == pytest.approx(frame.numbers["fl_x"], abs=1e-9)
        assert (image.camera.width, image.camera.height) == (frame.numbers["w"], frame.numbers["h"])


@pytest.mark.parametrize("to", WRITERS)
def test_what_is_no_run_is_refused_and_leaves_nothing(to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bent = write_capture(tmp_path / "bent", {**document(), "k1": 0.1})
    assert export.main([str(bent), "--to", to, "--out", str(tmp_path / "out")]) == 2
    assert "has a lens with distortion" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]
    assert export.main([str(bent), "--to", to, "--full"]) == 2
    assert "leave --full out" in capsys.readouterr().err


def test_quaternions_of_every_case_turn_back_into_their_rotations() -> None:
    rng = np.random.default_rng(0)
    for turn in [*np.eye(4), *rng.normal(size=(20, 4))]:
        pose = pose_of(Image("", 0, tuple(turn), (0.0, 0.0, 0.0)))
        rotation = np.linalg.inv(pose @ FLIP)[:3, :3]
        found = quaternion(rotation)
        expected = turn / np.linalg.norm(turn) * (np.sign(turn[0]) or 1.0)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_export_can_be_given_to_nerfstudio(tmp_path: Path) -> None:
    """The keys that its parser asks for."""
    export.main([str(write_capture(tmp_path / "run")), "--to", "nerfstudio", "--out", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out/transforms.json").read_text())
    assert {"camera_model", "fl_x", "fl_y", "cx", "cy", "w", "h", "frames"} == set(written)
    assert [(tmp_path / "out" / frame["file_path"]).is_file() for frame in written["frames"]] == [True] * 4
