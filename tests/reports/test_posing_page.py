"""The page on which a proxy is made by mouse: templates, and in a browser an arm that is clicked,
raised and undone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from qnerf import pose as command
from qnerf.reports.posing.page import templates, write_posing_page
from tests.browser import open_browser
from tests.scenes.captures import SIZE, write_capture
from tests.scenes.conftest import ring_cameras

CAMERAS = ring_cameras(4, SIZE, 55.0)
ARM = torch.tensor([[0.1, 0.0, 1.2], [0.45, 0.1, 1.1]])  # shoulder and hand


def test_templates_name_every_joint_once_and_bones_reach_all() -> None:
    for skeleton in templates().values():
        count = len(skeleton["joints"])
        assert len(set(skeleton["joints"])) == count
        assert {end for bone in skeleton["bones"] for end in bone} == set(range(count))


def test_the_command_writes_a_page_that_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "pose.html"
    assert command.main([str(write_capture(tmp_path / "scene")), "--out", str(page)]) == 0
    assert "4 views" in capsys.readouterr().out
    text = page.read_text()
    assert text.count("data:image/jpeg") == 4
    assert "http" not in text
    assert command.main([str(tmp_path / "nowhere"), "--out", str(page)]) == 2
    assert command.main([str(tmp_path / "scene"), "--views", "5"]) == 2
    assert "--views is 5, but" in capsys.readouterr().err


@pytest.mark.integration
def test_an_arm_is_clicked_raised_and_undone_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "pose.html"
    write_posing_page(str(write_capture(tmp_path / "scene")), None, None, None, page)
    pixels, _ = CAMERAS.project(ARM)
    with open_browser() as browser:
        browser.get(page.as_uri())

        def pointer(kind: str, view: int, at: np.ndarray) -> None:
            """A pointer's event at a point of the photograph, in its pixels."""
            browser.execute_script(
                "const c = canvases[arguments[1]], b = c.getBoundingClientRect();"
                "c.setPointerCapture = () => {};"
                "c.dispatchEvent(new PointerEvent(arguments[0], {clientX: b.left + arguments[2] * b.width,"
                "clientY: b.top + arguments[3] * b.height, pointerId: 1}));",
                *(kind, view, *(at / SIZE).tolist()),
            )

        def saved() -> dict[str, np.ndarray]:
            document = json.loads(browser.execute_script("return document.getElementById('json').value"))
            return {key: np.array(document[key], dtype=float) for key in ("source", "target")}

        browser.execute_script(
            "state = {joints: ['a', 'b'].map(name => ({name, clicks: {}, source: null, target: null})), bones: [[0, 1]]}; draw()"
        )
        for joint in (0, 1):
            browser.execute_script("document.querySelectorAll('#joints button')[arguments[0]].click()", joint)
            for view in (0, 1):
                pointer("pointerdown", view, pixels[view, joint].numpy())
        found = saved()
        shown, _ = CAMERAS.project(torch.from_numpy(found["source"]).float())
        assert (shown - pixels).norm(dim=-1).max() * 512 / SIZE < 3  # of views that were not clicked too
        np.testing.assert_array_equal(found["target"], found["source"])
        browser.execute_script("document.getElementById('target').click()")
        aim = pixels[0, 1].numpy() - (0.0, 8.0)
        for kind, at in (("pointerdown", pixels[0, 1].numpy()), ("pointermove", aim), ("pointerup", aim)):
            pointer(kind, 0, at)
        raised = saved()["target"]
        np.testing.assert_allclose(raised[0], found["source"][0], atol=1e-9)
        assert raised[1, 2] > found["source"][1, 2] + 0.1
        lengths = [np.linalg.norm(points[1] - points[0]) for points in (found["source"], raised)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)
        browser.execute_script("document.getElementById('undo').click()")
        np.testing.assert_array_equal(saved()["target"], found["source"])
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
