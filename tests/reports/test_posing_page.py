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
from qnerf.scenes.proxies import read_proxy
from qnerf.scenes.solids import Box
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


BONE = {"kind": "skeleton", "joints": ["a", "b"], "bones": [[0, 1]], "keeps_direction": ["b"]}
TILTED = {"centre": [0.2, 0, 1.1], "size": [0.2, 0.3, 0.8], "rotation": [[0, -1, 0], [0.6, 0, -0.8], [0.8, 0, 0.6]]}


@pytest.mark.integration
def test_what_a_file_holds_beside_its_joints_is_kept_or_said_to_be_left_out(tmp_path: Path) -> None:
    """Bounds in any orientation and joints that keep their direction come through the page; bounds
    of joints that move do not."""
    page, file = tmp_path / "pose.html", tmp_path / "proxy.json"
    states = {"source": ARM.tolist(), "target": (ARM + torch.tensor([0, 0, 0.1])).tolist()}
    bounds = {f"{state}_bounds": {"solids": [TILTED]} for state in states}
    file.write_text(json.dumps({**BONE, **states, **bounds}))
    write_posing_page(str(write_capture(tmp_path / "scene")), str(file), None, None, page)
    with open_browser() as browser:
        browser.get(page.as_uri())
        file.write_text(browser.execute_script("return by('json').value"))
        again = read_proxy(file)
        assert again.keeps_direction == (1,)
        assert again.source_bounds is not None
        (solid,) = again.source_bounds.solids
        assert isinstance(solid, Box)
        np.testing.assert_allclose(solid.turn, TILTED["rotation"], atol=1e-12)
        moved = browser.execute_script(
            "remember(); state.joints[1].target = [0, 0, 1]; draw(); return [by('json').value, by('said').innerText]"
        )
        assert "source_bounds" not in moved[0]
        assert json.loads(moved[0])["keeps_direction"] == ["b"]
        assert "The opened file's bounds are left out" in moved[1]
        browser.execute_script("by('undo').click()")
        assert json.loads(browser.execute_script("return by('json').value"))["target_bounds"]["solids"][0].keys() == TILTED.keys()
        box = {"kind": "box", "source": TILTED, "target": {**TILTED, "yaw": 0, "rotation": None}}
        opened = browser.execute_script("load(arguments[0]); return file()", box)
        mirrored = {**box, "source": {**TILTED, "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}}
        told = "try { load(arguments[0]); return 'opened' } catch (error) { return error.message }"
        assert "no right-handed axes" in browser.execute_script(told, mirrored)
        assert browser.execute_script("return file()") == opened
        file.write_text(json.dumps(opened))
        for corners, turn in ((opened["source"], TILTED["rotation"]), (opened["target"], np.eye(3))):
            edges = np.array(corners)[[1, 2, 4]] - corners[0]
            np.testing.assert_allclose(edges.T, np.array(turn) * TILTED["size"], atol=1e-12)


@pytest.mark.integration
def test_a_joint_is_helped_to_its_place_and_stays_under_the_mouse(tmp_path: Path) -> None:
    """The line of sight of one click passes through the joint in other views; a click that is held
    moves four times slower; views from one side are told; a joint on a bone that keeps its length
    is dragged to where the mouse is."""
    page = tmp_path / "pose.html"
    write_posing_page(str(write_capture(tmp_path / "scene")), None, None, None, page)
    with open_browser() as browser:
        browser.get(page.as_uri())
        found = browser.execute_script(
            "const [a, b] = data.views, spot = p => project(a, p), hand = arguments[0], ends = lineOf(b, a, spot(hand));"
            "const at = project(b, hand), along = [ends[1][0] - ends[0][0], ends[1][1] - ends[0][1]];"
            "const off = along[0] * (at[1] - ends[0][1]) - along[1] * (at[0] - ends[0][0]);"
            "const near = {...a, place: plus(a.place, [0, 0.02, 0])}; data.views.push(near);"
            "return [off / Math.hypot(...along), between({0: 1, 1: 1}, hand), between({0: 1, 4: 1}, hand)]",
            ARM[1].tolist(),
        )
        assert abs(found[0]) < 1e-6
        assert found[1] > 20
        assert found[2] < 1
        held = browser.execute_script(
            "data.views.pop(); HTMLElement.prototype.setPointerCapture = () => {};"
            "state = {joints: [{name: 'a', clicks: {}, source: null, target: null}], bones: []}; draw();"
            "const c = canvases[0], b = c.getBoundingClientRect(), unit = c.width / b.width;"
            "const send = (kind, x, y) => c.dispatchEvent("
            "new PointerEvent(`pointer${kind}`, {clientX: b.left + x, clientY: b.top + y, pointerId: 1}));"
            "send('down', 40, 50); const first = state.joints[0].clicks[0];"
            "send('move', 60, 30); send('up', 60, 30); send('move', 90, 90);"
            "return minus(state.joints[0].clicks[0], first).map(v => v / unit)"
        )
        np.testing.assert_allclose(held, [5, -5], atol=1e-6)
        pixels = browser.execute_script(
            "const view = data.views[0], away = arguments[0].map(v => [...v]);"
            "state = {joints: away.map((source, i) => ({name: `${i}`, clicks: {}, source, target: null})), bones: [[0, 1]]};"
            "by('target').checked = true;"
            "const aim = plus(project(view, away[1]), [6, -40]);"
            "move(1, {place: view.place, along: ray(view, aim), depth: 1});"
            "return [aim, project(view, state.joints[1].target), length(minus(state.joints[1].target, away[0]))]",
            ARM.tolist(),
        )
        np.testing.assert_allclose(pixels[1], pixels[0], atol=1e-6)
        assert pixels[2] == pytest.approx(float((ARM[1] - ARM[0]).norm()), rel=1e-6)
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
