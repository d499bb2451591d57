"""`qnerf export --to ply|splat`: files that others read, in the world's own axes and units, a film's way, and a page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qnerf import export
from qnerf.fields.settings import SourceFieldSettings
from qnerf.fields.source_field import SourceField
from qnerf.fields.surface import cloud_of
from qnerf.reports.surfaces import model as model_module
from qnerf.reports.surfaces.model import Model, Models, settings_of, source_of, train_models
from qnerf.reports.surfaces.orbit import orbit
from qnerf.reports.surfaces.viewer import viewer_page
from qnerf.reports.surfaces.write import SH_C0, make_splats, write_cloud, write_model, write_splats
from qnerf.scenes.reader import read_with_notes
from qnerf.scenes.scene import Proxy, Scene
from qnerf.scenes.settings import SceneSettings
from qnerf.scenes.world import World
from tests.browser import open_browser
from tests.fields.helpers import DENSITY, GRID, SAMPLING, SPACE, ring
from tests.fields.test_surface import sphere_look
from tests.scenes.captures import write_capture

FIELD = SourceFieldSettings(grid=GRID, initial_density=DENSITY, sampling=SAMPLING, hidden_width=16, geometry_width=8, ground=False)
FAR = World((5e6, -3000.0, 12.0), 0.5)


def quiet(_: str) -> None:
    """Says nothing."""


@pytest.fixture(scope="module")
def models() -> Models:
    """Of a sphere, as a perfect field would show it; blue before the edit."""
    cameras = ring(6)
    seen = sphere_look(cameras)
    images = seen.colours.permute(0, 3, 1, 2).contiguous()
    names = tuple(f"{view:03d}" for view in range(6))
    scene = Scene("ball", names, images, cameras, "a ball", "a ball", torch.zeros(3), 1.0, None, None)
    field = SourceField(FIELD, SPACE, torch.device("cpu"), 0, None, None)
    after = Model(images, field, seen, cloud_of(seen, cameras, scene.focus, 2.0), 30.0)
    blue = replace(seen, colours=seen.colours * torch.tensor([0.1, 0.1, 1.0]))
    return Models(scene, after, replace(after, seen=blue, cloud=cloud_of(blue, cameras, scene.focus, 2.0)))


def read_ply(path: Path) -> tuple[list[str], dict[str, np.ndarray], list[str]]:
    """Names of properties, columns and comments of a binary file, by the format's own words."""
    head, _, body = path.read_bytes().partition(b"end_header\n")
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    (count,) = (int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    kinds = {"float": "<f4", "double": "<f8", "uchar": "u1"}
    properties = [line.split()[1:] for line in lines if line.startswith("property")]
    rows = np.frombuffer(body, dtype=[(name, kinds[kind]) for kind, name in properties])
    assert len(rows) == count
    return (
        [name for _, name in properties],
        {name: rows[name] for _, name in properties},
        [line for line in lines if "comment" in line],
    )


def test_points_are_written_in_the_world_s_axes_and_units(models: Models, tmp_path: Path) -> None:
    cloud = models.after.cloud
    for world in (World(), FAR):
        write_cloud(tmp_path / "points.ply", cloud, world)
        names, found, _ = read_ply(tmp_path / "points.ply")
        assert names == ["x", "y", "z", "red", "green", "blue"]
        places = np.stack([found[axis] for axis in "xyz"], axis=1).astype(float)
        np.testing.assert_allclose((places - world.offset) / world.scale, cloud.points.numpy(), atol=1e-6)
        assert np.abs(found["green"] / 255 - cloud.colours[:, 1].numpy()).max() < 0.003


def test_gaussians_are_written_as_3dgs_reads_them(models: Models, tmp_path: Path) -> None:
    said: list[str] = []
    splats = make_splats(models, said.append)
    assert re.search(r"Gaussians: \d\d\.\d\d dB on the edited views, where the radiance field has 30\.00", said[-1])
    write_splats(tmp_path / "splat.ply", splats, World((1.0, 2.0, 3.0), 0.5), said.append)
    names, found, comments = read_ply(tmp_path / "splat.ply")
    rest = [f"f_rest_{i}" for i in range(45)]
    first = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    assert names == [*first, *rest, "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert not comments
    np.testing.assert_allclose(found["x"], splats.points[:, 0].numpy() * 0.5 + 1.0, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(0.5 + SH_C0 * found["f_dc_2"], splats.colours[:, 2].numpy(), atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-found["opacity"])), splats.opacity.numpy(), rtol=1e-5)
    np.testing.assert_allclose(np.exp(found["scale_1"]), splats.scales[:, 1].numpy() * 0.5, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm([found[f"rot_{i}"] for i in range(4)], axis=0), 1, atol=1e-6)
    write_splats(tmp_path / "far.ply", splats, FAR, said.append)
    _, found, comments = read_ply(tmp_path / "far.ply")
    assert "about (5000000, -3000, 12)" in said[-1]
    assert comments == ["comment positions are about 5000000, -3000, 12"]
    np.testing.assert_allclose(found["x"], splats.points[:, 0].numpy() * 0.5, atol=1e-5)


def test_the_folder_is_a_capture_whose_depth_is_read_again(models: Models, tmp_path: Path) -> None:
    scene = replace(models.scene, world=World((0.0, 0.0, 0.0), 2.0))
    names = write_model(tmp_path / "out", replace(models, scene=scene), "ply", 4, quiet)
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    assert "orbit.mp4" in names
    document = json.loads((tmp_path / "out/transforms.json").read_text())
    assert document["ply_file_path"] == "points.ply"
    again, notes = read_with_notes(SceneSettings(path=str(tmp_path / "out"), size=32, source_prompt=""))
    assert again.depth is not None
    assert not notes
    met = models.after.seen.met
    torch.testing.assert_close(again.depth[met], 2 * models.after.seen.depth[met], atol=1e-3, rtol=0)
    assert torch.isinf(again.depth[~met]).all()
    pose = torch.tensor([frame["transform_matrix"] for frame in document["frames"]])
    torch.testing.assert_close(pose[:, :3, 3], 2 * scene.cameras.positions)


@pytest.mark.parametrize("share", [6, 2])
def test_the_film_s_way_is_smooth_closed_and_looks_at_the_focus(share: int) -> None:
    """share: cameras on the ring of 6 that are there; of 2 there is no way round, but one there and back."""
    given = ring(6)[list(range(share))]
    way = orbit(given, torch.zeros(3), 40)
    pixels, ahead = way.project(torch.zeros(1, 3))
    torch.testing.assert_close(pixels[:, 0], way.centre, atol=1e-2, rtol=0)
    assert (ahead > 0).all()
    steps = (way.positions.roll(-1, 0) - way.positions).norm(dim=-1)
    assert steps.max() < 2.2 * steps.mean()
    nearest = torch.cdist(given.positions, way.positions).amin(dim=1)
    assert nearest.max() < 0.3
    assert way.camera_to_world[:, 2, 1].min() > 0.5  # upright


def test_a_folder_says_what_it_was_made_of_and_other_sources_are_left_out(models: Models, tmp_path: Path, caplog: Any) -> None:
    assert settings_of(tmp_path) == (None, SourceFieldSettings(), 0)
    (tmp_path / "config.yaml").write_text("seed: 3\nsource_field: {hidden_width: 16}\nscene: {path: nowhere}\n")
    scene, field, seed = settings_of(tmp_path)
    assert scene is not None
    assert (scene.path, field.hidden_width, seed) == ("nowhere", 16, 3)
    assert source_of(scene, models.scene) is None
    assert "The views before the edit are left out" in caplog.text


def test_the_object_of_the_edited_scene_is_where_the_edit_ends(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks are those of the source for both states, depth is the source's alone."""
    asked: list[tuple[Any, ...]] = []

    def train(*given: Any) -> SourceField:
        asked.append(given)
        return models.after.field

    monkeypatch.setattr(model_module, "train_source_field", train)
    monkeypatch.setattr(model_module, "look", lambda *_: models.after.seen)
    ends = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    proxy = Proxy("skeleton", ("a", "b"), ((0, 1),), ends, ends + 2)
    valid, depth = torch.ones(6, 32, 32, dtype=torch.bool), torch.ones(6, 32, 32)
    source = replace(models.scene, images=1 - models.scene.images, proxy=proxy, valid=valid, depth=depth)
    found = train_models(models.scene, source, FIELD, 7, quiet)
    assert found.before is not None
    (after, before) = asked
    assert torch.equal(after[0], models.scene.images)
    assert torch.equal(before[0], source.images)
    assert torch.equal(after[5].source, proxy.target)
    assert torch.equal(before[5].source, proxy.source)
    assert (after[6] is None, before[6] is depth) == (True, True)
    assert after[7] is valid
    assert before[7] is valid


def test_the_command_leaves_a_folder_or_nothing(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "train_models", lambda *_: models)
    run, out = write_capture(tmp_path / "run"), tmp_path / "out"
    arguments = [str(run), "--to", "ply", "--out", str(out), "--frames"]
    assert export.main([*arguments, "1"]) == 2
    assert "--frames is 1" in capsys.readouterr().err
    assert export.main([*arguments, "2"]) == 0
    assert "viewer.html in a browser" in capsys.readouterr().out
    assert (out / "points_before.ply").is_file()
    assert export.main([*arguments, "2"]) == 2
    assert "exists already" in capsys.readouterr().err
    text = (run / "transforms.json").read_text().replace('"w": 48', '"w": 96').replace('"h": 48', '"h": 50')
    (run / "transforms.json").write_text(text)
    assert export.main([str(run), "--to", "splat", "--out", str(tmp_path / "other")]) == 2
    assert "views of 96 x 50, expected one size" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}


@pytest.mark.integration
def test_the_page_draws_both_states_and_turns(models: Models, tmp_path: Path) -> None:
    page = tmp_path / "viewer.html"
    page.write_text(viewer_page(models, "a ball"), encoding="utf-8")
    assert "http" not in page.read_text()
    with open_browser() as browser:
        browser.get(page.as_uri())
        look = (
            "draw(); const w = canvas.width, h = canvas.height, d = new Uint8Array(4 * w * h);"
            "gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, d); const sum = [[0, 0, 0, 0], [0, 0, 0, 0]];"
            "for (let i = 0; i < w * h; i++) { const side = sum[i % w < w / 2 ? 0 : 1];"
            "if (d[4 * i] < 230 || d[4 * i + 1] < 230) { side[3]++; for (const c of [0, 1, 2]) side[c] += d[4 * i + c]; } }"
            "return sum.map(s => [s[0] / s[3], s[1] / s[3], s[2] / s[3], s[3] / (w * h)]);"
        )
        assert browser.execute_script("return canvas.clientHeight / innerHeight") > 0.6
        before, after = browser.execute_script(look)
        assert before[2] > 3 * before[0]  # blue
        assert after[0] > 2 * before[0]
        assert min(before[3], after[3]) > 0.03
        browser.execute_script("document.getElementById('whole').click()")
        assert browser.execute_script(look)[0][0] > 2 * before[0]
        angles = browser.execute_script("return [yaw, pitch, far]")
        for kind, x, buttons in (("pointerdown", 100, 1), ("pointermove", 160, 1), ("pointerup", 160, 0)):
            browser.execute_script(
                "canvas.setPointerCapture = () => {}; canvas.dispatchEvent(new PointerEvent(arguments[0],"
                "{clientX: arguments[1], clientY: 100, pointerId: 1, buttons: arguments[2]}));",
                *(kind, x, buttons),
            )
        browser.execute_script("canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -400, cancelable: true}))")
        turned = browser.execute_script("return [yaw, pitch, far]")
        assert turned[0] == pytest.approx(angles[0] - 0.3)
        assert turned[2] == pytest.approx(angles[2] * np.exp(-0.5))
        two = (
            ("pointerdown", 1, 100),
            ("pointerdown", 2, 200),
            ("pointermove", 2, 300),
            ("pointerup", 1, 100),
            ("pointerup", 2, 300),
        )
        for kind, finger, x in two:  # they end twice as far apart: twice as near
            browser.execute_script(
                "canvas.dispatchEvent(new PointerEvent(arguments[0], {clientX: arguments[2], clientY: 100, pointerId: arguments[1],"
                "pointerType: 'touch', buttons: 1}));",
                *(kind, finger, x),
            )
        pinched = browser.execute_script("return [yaw, pitch, far]")
        assert pinched[:2] == turned[:2]
        assert pinched[2] == pytest.approx(turned[2] / 2)
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
