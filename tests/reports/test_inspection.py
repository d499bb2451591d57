"""`qnerf inspect`: what it says of a capture, and the page, which a browser shows without asking for anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf import inspect as command
from qnerf.reports.inspection.checks import Check
from qnerf.reports.inspection.drawing import AFTER, BEFORE, drawn_view
from qnerf.reports.inspection.page import Inspection, inspect
from qnerf.scenes.scene import Proxy
from qnerf.scenes.settings import SceneSettings
from tests.browser import open_browser
from tests.scenes.captures import BOX, PROXY, write_capture
from tests.scenes.conftest import ring_cameras


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


@pytest.mark.integration
def test_the_page_draws_in_a_browser(tmp_path: Path) -> None:
    (write_capture(tmp_path) / "proxy.json").write_text(json.dumps({**PROXY, "target": {**BOX, "yaw": 30}}))
    look(tmp_path).write(tmp_path / "look.html")
    with open_browser() as browser:
        browser.get((tmp_path / "look.html").as_uri())
        inked = (
            "const c = document.getElementById('space'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        )
        inked += "let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n;"
        assert browser.execute_script(inked) > 1000
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
