"""`qnerf inspect`: what it says of a capture, and the page, which a browser shows without asking for anything."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf import inspect as command
from qnerf.reports.inspection.checks import Check
from qnerf.reports.inspection.drawing import AFTER, BEFORE, drawn_depth, drawn_mask, drawn_view
from qnerf.reports.inspection.page import Inspection, inspect, look_at, whole_camera
from qnerf.reports.report import render_report
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Proxy
from qnerf.scenes.settings import SceneSettings
from tests.browser import open_browser
from tests.reports.test_report import make_report, parse
from tests.scenes.captures import BOX, PROXY, document, write_capture, write_images
from tests.scenes.conftest import ring_cameras
from tests.scenes.test_masks_and_depth import capture


def look(folder: Path, **changes: object) -> Inspection:
    return inspect(SceneSettings.model_validate({"path": str(folder), "size": 48, "source_prompt": "", **changes}))


def verdicts(inspection: Inspection) -> dict[str, Check]:
    return {check.name: check for check in inspection.checks}


def test_a_good_capture_has_good_verdicts(tmp_path: Path) -> None:
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps(PROXY))
    found = verdicts(look(tmp_path))
    assert {name for name, check in found.items() if check.verdict == "weak"} == {"Views"}  # which are only 4
    assert found["Images"].said == "4 of 48 x 48 pixels"
    assert found["Lenses"].said == "pinhole; the views are 47° wide"
    assert "(" in found["Focus"].said
    assert "4 of 4 views show it" in found["Focus"].said


def test_an_edit_that_leaves_the_views_is_weak_and_its_views_are_named(tmp_path: Path) -> None:
    tall = {"centre": [0, 0, 3.0], "size": [1, 1, 3]}
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({**PROXY, "source": tall, "target": {**tall, "yaw": 20}}))
    found = verdicts(look(tmp_path))["Edit in the views"]
    assert found.verdict == "weak"
    assert found.said.endswith("(000, 001, 002, 003)")


def test_bones_are_drawn_where_the_camera_sees_them_and_the_crop_is_framed() -> None:
    camera = ring_cameras(4, 320, 300.0)[[0]]
    ends = torch.tensor([[0.0, 0.0, 0.9], [0.5, 0.0, 0.9]])
    proxy = Proxy("skeleton", ("a", "b"), ((0, 1),), ends, ends + torch.tensor([0.0, 0.0, 0.4]))
    picture = drawn_view(np.zeros((320, 320, 3), np.uint8), camera, proxy, (40, 0, 240, 320))
    for points, colour in ((proxy.source, BEFORE), (proxy.target, AFTER)):
        column, row = camera.project(points.mean(dim=0, keepdim=True))[0][0, 0].int().tolist()
        assert np.abs(picture[row, column].astype(int) - colour).max() < 30
    assert (picture[100, 40] == 255).all()
    assert not picture[300, 60].any()


def test_the_command_prints_verdicts_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (write_capture(tmp_path / "scene") / "proxy.json").write_text(json.dumps(PROXY))
    page = tmp_path / "look.html"
    assert command.main([str(tmp_path / "scene"), "scene.size=64", f"page={page}"]) == 0
    said = capsys.readouterr().out
    assert "good  Images" in said
    assert str(page) in said
    text = page.read_text()
    assert text.count("data:image/jpeg") == 4
    assert "http" not in text
    assert command.main([str(tmp_path / "nowhere")]) == 2
    assert command.main([str(tmp_path / "scene"), "scene.siez=64"]) == 2
    assert command.main([str(tmp_path / "scene"), "size=64"]) == 2
    assert command.main([]) == 2
    assert command.main([str(tmp_path / "scene"), "scene.path=x", "page=", "scene.views=two", "views=4", "veiw=4"]) == 2
    errors = capsys.readouterr().err
    assert "does not exist, expected a folder" in errors
    assert "scene.siez: unknown key; nearest valid: size" in errors
    assert "scene.path: " in errors
    assert "page: got" in errors
    assert "scene.views: got 'two'; expected a whole number" in errors
    assert "views: no such key here; write scene.views=…" in errors
    assert "veiw: no such key here; expected scene.<key>=… or page=…" in errors


def test_masks_and_depth_are_shown_beside_the_views(tmp_path: Path) -> None:
    found = look(capture(tmp_path))
    checks = verdicts(found)
    assert re.fullmatch(r"67% of the pixels count", checks["Masks"].said)
    assert re.fullmatch(r"known in \d\d% of the pixels, from \d\.\d+ to \d+(\.\d+)? off the cameras", checks["Depth"].said)
    assert [name for name, _ in found.masks] == [name for name, _ in found.depths] == ["000", "001", "002", "003"]
    found.write(tmp_path / "look.html")
    text = (tmp_path / "look.html").read_text()
    assert text.count("data:image/jpeg") == 12
    assert "<h2>The depth</h2>" in text


def test_what_does_not_count_is_red_and_near_is_red_where_depth_is_known() -> None:
    valid = np.array([[True, False]])
    drawn = drawn_mask(np.full((1, 2, 3), 100, np.uint8), valid)
    assert drawn[0].tolist() == [[100, 100, 100], [172, 40, 40]]  # 0.4 · 100 + 0.6 · (220, 0, 0)
    near, far, unknown = drawn_depth(np.array([[2.0, 8.0, np.inf]], np.float32), 2.0, 8.0)[0].tolist()
    assert near[0] > 100 > near[2]
    assert far[2] > 100 > far[0]
    assert unknown == [0, 0, 0]


def test_the_camera_of_a_whole_photograph_follows_from_the_view_s(tmp_path: Path) -> None:
    """By its intrinsics as they are read again from the file: the view is a moved piece of a wide photograph, scaled."""
    write_images(tmp_path, [f"images/{view:03d}.png" for view in range(4)], size=96)
    (tmp_path / "proxy.json").write_text(json.dumps(PROXY))
    changed = {**document(), "w": 96, "h": 96, "cx": 40.0, "cy": 50.0, "fl_x": 110.0, "fl_y": 100.0}
    (tmp_path / "transforms.json").write_text(json.dumps(changed))
    scene = read_scene(SceneSettings(path=str(tmp_path), size=(64, 32)))
    assert scene.photographs is not None
    for index, photograph in enumerate(scene.photographs):
        view, (camera, window) = photograph.read(), whole_camera(scene, index)
        assert window == photograph.window
        assert (camera.width, camera.height) == (96, 96)
        np.testing.assert_allclose(camera.focal[0].numpy(), view.focal, rtol=1e-5)
        np.testing.assert_allclose(camera.centre[0].numpy(), view.centre, rtol=1e-5)


def test_a_run_s_report_says_how_its_capture_was_read(tmp_path: Path) -> None:
    scene = read_scene(SceneSettings(path=str(capture(tmp_path)), size=48))
    checker = parse(render_report(replace(make_report(), look=look_at(scene))))
    assert "The capture, as the run read it" in checker.text
    assert "67% of the pixels count" in checker.text
    assert "The depth" in checker.text
    assert "as the run read it" not in parse(render_report(make_report())).text  # images without cameras


@pytest.mark.integration
def test_the_pages_draw_in_a_browser(tmp_path: Path) -> None:
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({**PROXY, "target": {**BOX, "yaw": 30}}))
    found = look(tmp_path)
    found.write(tmp_path / "look.html")
    (tmp_path / "report.html").write_text(render_report(replace(make_report(), look=found)), encoding="utf-8")
    inked = (
        "const c = document.getElementById('space'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;"
    )
    with open_browser() as browser:
        for page in ("look.html", "report.html"):
            browser.get((tmp_path / page).as_uri())
            opened = "const all = document.querySelectorAll('details'); for (const each of all) each.open = true;"
            browser.execute_async_script(f"{opened} setTimeout(arguments[0], 50)")  # a toggle is told a moment later
            assert browser.execute_script(inked) > 1000
            assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
