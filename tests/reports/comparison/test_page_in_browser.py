"""The page as a user has it, in headless Chromium: what is clicked is what results.csv says."""

import csv
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qnerf.reports.comparison.page import write_comparison
from tests.browser import open_browser
from tests.reports.comparison.synthetic import STRENGTHS, make_search, make_sweep

pytestmark = pytest.mark.integration

DIGITS = {"consistency_moved": 4, "psnr_object": 2}


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with open_browser() as driver:
        driver.implicitly_wait(5)
        yield driver


@pytest.fixture(scope="module")
def sweep(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_sweep(tmp_path_factory.mktemp("browser"))
    write_comparison(folder)
    return folder


@pytest.fixture
def page(driver: Any, sweep: Path) -> Any:
    driver.get(f"file://{sweep}/report.html")
    return driver


def rows_of(sweep: Path, **settings: str) -> list[dict[str, str]]:
    rows = csv.DictReader((sweep / "results.csv").open())
    return [row for row in rows if all(row[key.replace("__", ".")] == value for key, value in settings.items())]


def find(page: Any, selector: str) -> Any:
    return page.find_element("css selector", selector)


def choose(page: Any, identifier: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(find(page, f"#{identifier}")).select_by_value(value)


def square(page: Any, row: int, column: int) -> Any:
    return find(page, f'#heatmap [data-place="{row},{column}"]')


@pytest.mark.parametrize("metric", ["consistency_moved", "psnr_object"])
def test_a_square_is_the_mean_over_scenes_and_seeds_of_the_table(page: Any, sweep: Path, metric: str) -> None:
    choose(page, "metric", metric)
    for column, strength in enumerate(STRENGTHS):
        rows = rows_of(sweep, guidance__strength=strength, schedule__interval="3")
        values = [float(row[metric]) for row in rows]
        assert len(values) == 4
        shown, *interval = re.findall(r"\d+\.\d+", square(page, 0, column).text)
        assert float(shown) == pytest.approx(sum(values) / 4, abs=0.6 * 10 ** -DIGITS[metric])
        assert min(values) <= float(interval[0]) + 1e-2 <= float(shown) + 2e-2 <= float(interval[1]) + 3e-2 <= max(values) + 4e-2
    assert square(page, 1, 2).text == "failed"


def test_a_click_shows_the_cell_with_its_figures_pictures_and_command(page: Any, sweep: Path) -> None:
    square(page, 0, 1).click()
    row = rows_of(sweep, guidance__strength="0.02", schedule__interval="3")[0]
    for metric, digits in DIGITS.items():
        text = find(page, f'#figures [data-metric="{metric}"] td:last-child').text
        assert float(text.split()[0]) == pytest.approx(float(row[metric]), abs=0.51 * 10**-digits)
    values = f"guidance.strength=0.02 schedule.interval=3 scene.path={row['scene.path']} seed=0"
    assert find(page, "#command").text == f"python -m qnerf.run +exp=ablation {values}"
    layers = page.execute_script("return [...document.querySelectorAll('#stage div')].map((d) => d.style.backgroundImage)")
    assert [layer.startswith('url("data:image/webp') for layer in layers] == [True, True, False]
    choose(page, "replicate", find(page, "#replicate option:last-child").get_attribute("value"))
    assert find(page, "#command").text.endswith("seed=1")
    assert "aria-pressed" in square(page, 0, 1).get_attribute("outerHTML")


def test_slider_and_orbit_move_the_picture(page: Any) -> None:
    square(page, 0, 0).click()
    page.execute_script("const s = document.getElementById('split'); s.value = 80; s.oninput()")
    assert "80%" in page.execute_script("return document.querySelectorAll('#stage div')[1].style.clipPath")
    assert find(page, "#view-name").text == "edited, view 000"
    find(page, "#orbit").click()
    deadline = time.monotonic() + 20
    while find(page, "#turn").get_attribute("value") != "2":
        assert time.monotonic() < deadline, "the orbit stands still"
    assert find(page, "#orbit").text == "Stop"
    find(page, "#orbit").click()
    assert find(page, "#orbit").text == "Orbit"


def test_keys_alone_reach_a_cell(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    page.execute_script("document.querySelector('#metric').focus()")
    page.switch_to.active_element.send_keys(Keys.TAB)  # past figure: into the map, which is one stop
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert find(page, "#cell-name").text.startswith("guidance.strength=0.02, schedule.interval=5")
    assert page.switch_to.active_element.get_attribute("data-place") == "1,1", "the focus stays where it was"


def test_axes_can_be_any_two_settings_and_the_rest_is_held(page: Any, sweep: Path) -> None:
    choose(page, "rows", "scene.path")
    held = find(page, '[data-filter="schedule.interval"]')
    assert held.get_attribute("value") == "3"
    rows = rows_of(sweep, guidance__strength="0.01", schedule__interval="3", scene="puppet_1")
    expected = sum(float(row["consistency_moved"]) for row in rows) / len(rows)
    assert float(square(page, 1, 0).text.split()[0]) == pytest.approx(expected, abs=1e-4)
    choose(page, "columns", "scene.path")
    assert find(page, "#rows").get_attribute("value") == "guidance.strength", "the axes change places"


def test_front_and_table(page: Any, sweep: Path) -> None:
    assert "guidance.strength=0.04, schedule.interval=3" in find(page, "#front").get_attribute("textContent")
    assert page.execute_script("return document.querySelectorAll('#pareto .scatterlayer .point').length") >= 5
    headings = page.find_elements("css selector", "#cells thead button")
    next(heading for heading in headings if heading.text.startswith("PSNR, object")).click()
    first = page.find_elements("css selector", "#cells tbody tr:first-child td")
    lowest = min(float(row["psnr_object"]) for row in rows_of(sweep) if row["psnr_object"])
    assert f"{lowest:.2f}" in [cell.text for cell in first]
    find(page, "#cells tbody tr:first-child button").click()
    assert "0.04" in find(page, "#cell-name").text


def test_nothing_is_asked_of_the_network_and_no_script_fails(page: Any, sweep: Path) -> None:
    square(page, 0, 0).click()
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {m["params"]["request"]["url"].split(":")[0] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert asked <= {"file", "data", "blob"}
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def point_of(page: Any, trace: int, index: int) -> Any:
    """A point of the chart: of the front (0) or of the settings that it beats (1), from left to right."""
    script = (
        "const traces = [...document.querySelectorAll('#pareto .scatterlayer .trace')].filter((t) => t.querySelector('.point'));"
        " return traces[arguments[0]].querySelectorAll('.point')[arguments[1]]"
    )
    return page.execute_script(script, trace, index)


def click_point(page: Any, point: Any) -> None:
    """Moves there and presses, as a hand does: Plotly takes a click for the point that the pointer is over."""
    from selenium.webdriver.common.action_chains import ActionChains

    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)
    ActionChains(page).move_to_element(point).pause(0.3).click().perform()


@pytest.mark.parametrize(("trace", "index"), [(0, 0), (0, 1), (1, 0)], ids=["end of the front", "on the front", "beaten"])
def test_a_click_on_a_point_shows_its_cell(page: Any, sweep: Path, trace: int, index: int) -> None:
    name = page.execute_script(f"return document.getElementById('pareto').data[{trace + 1}].text[{index}]")
    click_point(page, point_of(page, trace, index))
    strength, interval = re.findall(r"=([\d.]+)", name)
    row = rows_of(sweep, guidance__strength=strength, schedule__interval=interval)[0]
    assert find(page, "#cell-name").text.startswith(f"{name}, scene.path=")
    shown = find(page, '#figures [data-metric="consistency_moved"] td:last-child').text
    assert float(shown.split()[0]) == pytest.approx(float(row["consistency_moved"]), abs=0.51e-4)
    assert row["identity"] in find(page, "#viewer").text
    places = page.find_elements("css selector", '#heatmap button[aria-pressed="true"]')
    assert [place.get_attribute("data-place") for place in places] == [f"{['3', '5'].index(interval)},{STRENGTHS.index(strength)}"]


def axis(page: Any, key: str) -> Any:
    """The strip along an axis that takes the pointer."""
    script = (
        "const names = document.getElementById('parallel').data[0].dimensions.map((d) => d.name);"
        " return document.querySelectorAll('#parallel .axis-brush .background')[names.indexOf(arguments[0])]"
    )
    return page.execute_script(script, key)


def brush(page: Any, key: str, low: float, high: float) -> None:
    """Drags along an axis between two shares of its height, counted from below."""
    from selenium.webdriver.common.action_chains import ActionChains

    strip = axis(page, key)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", strip)
    height = strip.rect["height"]
    start = round((0.5 - low) * height)
    hand = ActionChains(page, duration=50).move_to_element_with_offset(strip, 0, start).pause(0.2).click_and_hold()
    for _ in range(5):
        hand.move_by_offset(0, -round((high - low) * height / 5))
    hand.pause(0.2).release().perform()


def listed(page: Any) -> list[str]:
    """The identities of the cells in the table."""
    return page.execute_script(
        "return [...document.querySelectorAll('#cells tbody button')].map((b) => data.cells[b.dataset.cell].identity)"
    )


def test_a_range_dragged_on_an_axis_is_what_the_table_keeps(page: Any, sweep: Path) -> None:
    brush(page, "psnr_object", 0.3, 0.8)
    [[low, high]] = page.execute_script("return ranges.psnr_object")
    values = {row["identity"]: float(row["psnr_object"]) for row in rows_of(sweep) if row["psnr_object"]}
    inside = {identity for identity, value in values.items() if low <= value <= high}
    assert 2 < len(inside) < len(values) - 2
    assert set(listed(page)) == inside
    assert find(page, "#table-note").text.startswith(f"{len(inside)} of 24 cells, within the ranges kept above.")
    brush(page, "guidance.strength", 0.7, 1.0)
    strong = {row["identity"] for row in rows_of(sweep, guidance__strength="0.04")}
    assert set(listed(page)) == inside & strong, "ranges on two axes are kept together"
    choose(page, "metric", "psnr_truth")
    assert set(listed(page)) == inside & strong, "another figure leaves them"
    assert page.execute_script("return document.getElementById('parallel').data[0].dimensions[0].constraintrange")
    find(page, "#range-all").click()
    assert len(listed(page)) == 24


def test_keys_alone_keep_a_range_and_show_a_point_of_the_front(page: Any, sweep: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> Any:
        for key in keys:
            page.switch_to.active_element.send_keys(key)
        return page.switch_to.active_element

    page.execute_script("document.querySelector('summary').focus()")
    first = press(Keys.ENTER, Keys.TAB)
    name = first.text
    assert press(Keys.ENTER).text == name, "the focus stays where it was"
    assert find(page, "#cell-name").text.startswith(name)
    page.execute_script("document.querySelector('#range-axis').focus()")
    press(Keys.TAB, Keys.ARROW_DOWN)
    assert {row["identity"] for row in rows_of(sweep) if row["guidance.strength"] != "0.01"} == set(listed(page))
    assert page.switch_to.active_element.get_attribute("id") == "range-low", "the focus stays where it was"
    press(Keys.TAB, Keys.ARROW_UP)
    assert {row["identity"] for row in rows_of(sweep, guidance__strength="0.02")} == set(listed(page))
    press(Keys.TAB, Keys.ENTER)
    assert len(listed(page)) == 24


def test_a_search_is_a_map_of_ranges_over_all_its_cells(driver: Any, tmp_path: Path) -> None:
    strengths = [f"{0.01 + 0.0017 * i:.4f}" for i in range(20)]
    folder = make_search(tmp_path, strengths)
    write_comparison(folder)
    driver.get(f"file://{folder}/report.html")
    choose(driver, "columns", "guidance.strength")
    heads = [head.text for head in driver.find_elements("css selector", "#heatmap thead th[scope=col]")]
    assert len(heads) == 8
    assert [head.split(" … ")[0] for head in heads] == [strengths[bin * 20 // 8] for bin in range(8)]
    with_figures = driver.execute_script(
        "return [...document.querySelectorAll('#heatmap button')].filter((b) => b.style.color).length"
    )
    assert with_figures >= 8


@pytest.mark.slow
def test_two_hundred_cells_answer_at_once(driver: Any, tmp_path: Path) -> None:
    strengths = [f"{0.01 * i:.2f}" for i in range(1, 11)]
    folder = make_sweep(tmp_path, strengths=strengths, intervals=["2", "3", "4", "5", "6"])
    assert write_comparison(folder).stat().st_size < 20 * 2**20
    driver.get(f"file://{folder}/report.html")
    assert "200 cells" in find(driver, "#summary").text
    slowest = driver.execute_script(
        "let most = 0; for (const id of [3, 77, 150]) { const t = performance.now(); select(id);"
        " most = Math.max(most, performance.now() - t); } return most"
    )
    assert slowest < 1000, "milliseconds from a click to the cell"
    widths = driver.execute_script(
        "const m = document.getElementById('heatmap'); return [m.scrollWidth, m.parentElement.clientWidth]"
    )
    assert widths[0] <= widths[1], "ten columns are seen at once"
    find(driver, '#heatmap [data-place="2,9"]').click()
    assert find(driver, "#cell-name").text.startswith("guidance.strength=0.10, schedule.interval=4")
    assert "95 % interval" in find(driver, "#square").text, "where squares have no room for it, the line below says it"
    click_point(driver, point_of(driver, 0, 3))
    assert find(driver, "#cell-name").text.startswith(
        driver.execute_script("return document.getElementById('pareto').data[1].text[3]")
    )
    brush(driver, "guidance.strength", 0.5, 1.0)
    assert set(listed(driver)) == {row["identity"] for row in rows_of(folder) if float(row["guidance.strength"]) > 0.055}
