"""The pages of a run and of a sweep, held against axe-core (the package axe-core-python), light and dark, wide and narrow; and
keys alone."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from qnerf.reports.comparison.page import write_comparison
from qnerf.reports.posing.page import write_posing_page
from qnerf.reports.report import render_report
from tests.browser import open_browser
from tests.reports.comparison.synthetic import make_sweep
from tests.reports.test_report import make_report
from tests.scenes.captures import write_capture

pytestmark = pytest.mark.integration
RUN_AXE = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then(
    (found) => done(found.violations.map((each) => [each.id, each.impact, each.nodes.map((node) => node.html.slice(0, 120))])),
    (error) => done([["axe", "critical", [String(error)]]]));
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = folder / "run.html"
    run.write_text(render_report(make_report()))
    write_posing_page(str(write_capture(folder / "scene")), None, None, None, folder / "pose.html")
    sweep = write_comparison(make_sweep(folder, strengths=("0.01", "0.02"), scenes=1))
    return {"run": run, "sweep": sweep, "pose": folder / "pose.html"}


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with open_browser() as driver:
        driver.set_script_timeout(60)
        yield driver


def show(driver: Any, page: Path, width: int, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(f"file://{page}")


@pytest.mark.skipif(find_spec("axe_core_python") is None, reason="needs axe-core-python")
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
@pytest.mark.parametrize("name", ["run", "sweep", "pose"])
def test_axe_finds_no_fault(name: str, width: int, scheme: str, pages: dict[str, Path], driver: Any) -> None:
    show(driver, pages[name], width, scheme)
    driver.execute_script((files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    assert driver.execute_async_script(RUN_AXE) == []


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_on_a_phone_nothing_makes_the_page_wider(name: str, pages: dict[str, Path], driver: Any) -> None:
    show(driver, pages[name], 390, "light")
    assert driver.execute_script("return document.documentElement.scrollWidth") == 390


def test_every_control_of_a_runs_page_is_reached_by_keys_and_seen_to_be(pages: dict[str, Path], driver: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    show(driver, pages["run"], 1440, "light")
    expected = driver.execute_script("return [...document.querySelectorAll('select, input, button, summary')].length")
    reached = set()
    driver.find_element("css selector", "body").send_keys(Keys.TAB)
    for _ in range(40):
        word = driver.execute_script(
            "const at = document.activeElement;"
            " return [at.tagName, at.id || at.textContent.slice(0, 40), getComputedStyle(at).outlineStyle]"
        )
        if word[0] in ("SELECT", "INPUT", "BUTTON", "SUMMARY"):
            assert word[2] != "none", word
            reached.add(word[1])
        driver.switch_to.active_element.send_keys(Keys.TAB)
    assert len(reached) == expected
