"""A box on the page on which a proxy is made, by mouse in a browser: every handle leads where the
mouse leads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from qnerf.reports.posing.page import write_posing_page
from qnerf.scenes.proxies import read_proxy
from tests.browser import open_browser
from tests.scenes.captures import SIZE, write_capture
from tests.scenes.conftest import ring_cameras

CAMERAS = ring_cameras(4, SIZE, 55.0)
MIDDLE = torch.tensor([[0.1, 0.0, 1.0]])
TOP = "faceOf(box, 2, 1)"  # of handles, as the page's script has them
SHIFT = np.array([4.0, -3.0])  # pixels

pytestmark = pytest.mark.integration


@dataclass
class BoxPage:
    """The page of a capture in a browser. Points are in pixels of a view's photograph."""

    browser: Any
    folder: Path
    capture: str = field(init=False)

    def __post_init__(self) -> None:
        self.capture = str(write_capture(self.folder / "scene"))

    @property
    def file(self) -> Path:
        """Where the proxy is saved."""
        return self.folder / "proxy.json"

    def open(self, proxy: str | None = None) -> None:
        """Writes the page, going on with a proxy's file where one is given, and shows it."""
        page = self.folder / "pose.html"
        write_posing_page(self.capture, proxy, None, None, page)
        self.browser.get(page.as_uri())

    def place(self) -> None:
        """A box at `MIDDLE`, by a click in each of two views."""
        pixels = CAMERAS.project(MIDDLE)[0][:, 0].numpy()
        self.browser.execute_script("const t = document.getElementById('template'); t.value = 'box'; t.onchange({target: t})")
        for view in (0, 1):
            self._mouse().move_to_element_with_offset(self._canvas(view), *self._offset(view, pixels[view])).click().perform()

    def turn(self) -> None:
        """About two axes, so that yaw alone does not describe it."""
        for axis, view in ((0, 0), (2, 1)):
            start, end = (self.spot(view, f"ringOf(box, {axis}, {angle})") for angle in (0.6, 1.0))
            self.drag(view, start, end)

    def drag(self, view: int, start: np.ndarray, end: np.ndarray) -> None:
        canvas, (x, y), to = self._canvas(view), self._offset(view, start), self._offset(view, end)
        chain = self._mouse().move_to_element_with_offset(canvas, x, y).click_and_hold()
        chain.move_by_offset((to[0] - x) // 2, (to[1] - y) // 2).move_to_element_with_offset(canvas, *to).release().perform()

    def spot(self, view: int, handle: str) -> np.ndarray:
        """Where a handle is seen."""
        found = self.browser.execute_script(f"const box = boxAt(), view = data.views[{view}]; return project(view, {handle})")
        return np.array(found) * SIZE / self.browser.execute_script(f"return canvases[{view}].width")

    def click(self, button: str) -> None:
        self.browser.execute_script("document.getElementById(arguments[0]).click()", button)

    def saved(self) -> dict[str, np.ndarray]:
        """The corners (8, 3) in the proxy's file, before and after the edit."""
        self.file.write_text(self.browser.execute_script("return document.getElementById('json').value"))
        proxy = read_proxy(self.file)
        assert proxy.kind == "box"
        return {"source": proxy.source.numpy(), "target": proxy.target.numpy()}

    def _canvas(self, view: int) -> Any:
        return self.browser.find_elements("css selector", "#views canvas")[view]

    def _mouse(self) -> Any:
        from selenium.webdriver import ActionChains

        return ActionChains(self.browser, duration=20)

    def _offset(self, view: int, at: np.ndarray) -> tuple[int, int]:
        """Of a point, from the canvas's middle on the screen, where the canvas is scrolled to."""
        canvas = self._canvas(view)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'end'})", canvas)
        x, y = np.round((np.asarray(at) / SIZE - 0.5) * canvas.size["width"])
        return int(x), int(y)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Iterator[BoxPage]:
    """With a box that is placed; afterwards nothing may have gone wrong in its script."""
    page = BoxPage(browser, tmp_path)
    page.open()
    page.place()
    yield page
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def edges(corners: np.ndarray) -> np.ndarray:
    """(3, 3), an edge a row, of corners (8, 3)."""
    return corners[[1, 2, 4]] - corners[0]


def test_a_box_is_placed_by_two_clicks_and_sized_by_a_face(page: BoxPage) -> None:
    placed = page.saved()["source"]
    np.testing.assert_allclose(placed.mean(0), MIDDLE[0], atol=0.02)
    top, raised = page.spot(0, TOP), page.spot(0, TOP) - np.array([0, 6.0])
    page.drag(0, top, raised)
    np.testing.assert_allclose(page.spot(0, TOP), raised, atol=0.3)
    np.testing.assert_allclose(page.saved()["source"][:4], placed[:4], atol=1e-5)  # the face below stays


def test_a_box_is_turned_about_two_axes_and_keeps_its_size_and_place(page: BoxPage) -> None:
    top = page.spot(0, TOP)
    page.drag(0, top, top - np.array([0, 6.0]))  # no cube, whose edges could change places
    before = page.saved()["source"]
    page.turn()
    turned = page.saved()["source"]
    lengths = np.linalg.norm(edges(before), axis=1)
    np.testing.assert_allclose(np.linalg.norm(edges(turned), axis=1), lengths, rtol=1e-5)
    np.testing.assert_allclose(turned.mean(0), before.mean(0), atol=1e-5)
    rotation = (edges(turned) / lengths[:, None]).T @ (edges(before) / lengths[:, None])
    vector = cv2.Rodrigues(rotation.astype(np.float64))[0][:, 0]
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
    assert abs(vector[0]) > 0.2
    assert abs(vector[2]) > 0.2


def test_the_edited_box_alone_is_moved_and_the_move_is_undone(page: BoxPage) -> None:
    page.turn()
    turned = page.saved()["source"]
    page.click("target")
    centre = page.spot(0, "box.centre")
    page.drag(0, centre, centre + SHIFT)
    posed = page.saved()
    np.testing.assert_array_equal(posed["source"], turned)
    np.testing.assert_allclose(page.spot(0, "box.centre"), centre + SHIFT, atol=0.3)
    np.testing.assert_allclose(edges(posed["target"]), edges(turned), atol=1e-5)
    page.click("undo")
    np.testing.assert_array_equal(page.saved()["target"], turned)


def test_a_page_goes_on_with_the_box_that_was_saved(page: BoxPage) -> None:
    page.turn()
    turned = page.saved()["source"]
    page.open(str(page.file))
    np.testing.assert_allclose(page.saved()["source"], turned, atol=1e-5)
