"""The charts under a hand and under keys, in headless Chromium: a point shows its cell, a range keeps rows of the table."""

import re
from pathlib import Path
from typing import Any

import pytest

from qnerf.reports.comparison.page import write_comparison
from tests.reports.comparison.hands import brush, choose, click_point, find, listed, point_of, rows_of
from tests.reports.comparison.synthetic import STRENGTHS, make_search, make_sweep

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("trace", "index"), [(0, 0), (0, 1), (1, 0)], ids=["end of the front", "on the front", "beaten"])
def test_a_click_on_a_point_shows_its_cell(page: Any, sweep: Path, trace: int, index: int) -> None:
    name = page.execute_script(f"return document.getElementById('pareto').data[{trace + 1}].text[{index}]")
    click_point(page, point_of(page, trace, index))
    strength, interval = re.findall(r"=([\d.]+)", name)
    row = rows_of(sweep, guidance__strength=strength, schedule__interval=interval)[0]
    assert find(page, "#cell-name").text.startswith(f"{name}, scene.path=")
    shown = find(page, '#figures [data-metric="warp_error_moved"] td:last-child').text
    assert float(shown.split()[0]) == pytest.approx(float(row["warp_error_moved"]), abs=0.51e-4)
    assert row["identity"] in find(page, "#viewer").text
    places = page.find_elements("css selector", '#heatmap button[aria-pressed="true"]')
    assert [place.get_attribute("data-place") for place in places] == [f"{['3', '5'].index(interval)},{STRENGTHS.index(strength)}"]


def test_a_range_dragged_on_an_axis_is_what_the_table_keeps(page: Any, sweep: Path) -> None:
    brush(page, "psnr_object", 0.3, 0.8)
    [[low, high]] = page.execute_script("return ranges.psnr_object")
    values = {row["identity"]: float(row["psnr_object"]) for row in rows_of(sweep) if row["psnr_object"]}
    inside = {identity for identity, value in values.items() if low <= value <= high}
    assert 2 < len(inside) < len(values) - 2
    assert set(listed(page)) == inside
    assert find(page, "#table-note").text.startswith(f"{len(inside)} of 24 cells, within the ranges above.")
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
    assert "(4 runs, 2 scenes)" in find(driver, "#square").text, "what squares have no room for is in the line below"
    click_point(driver, point_of(driver, 0, 3))
    assert find(driver, "#cell-name").text.startswith(
        driver.execute_script("return document.getElementById('pareto').data[1].text[3]")
    )
    brush(driver, "guidance.strength", 0.5, 1.0)
    assert set(listed(driver)) == {row["identity"] for row in rows_of(folder) if float(row["guidance.strength"]) > 0.055}


@pytest.mark.slow
def test_five_thousand_cells_are_one_page_that_answers(driver: Any, tmp_path: Path) -> None:
    strengths, intervals = [f"{0.001 * i:.3f}" for i in range(1, 51)], [str(i) for i in range(2, 52)]
    folder = make_sweep(tmp_path, strengths=strengths, intervals=intervals, scenes=1, pictured=4)
    assert write_comparison(folder).stat().st_size < 20 * 2**20
    driver.get(f"file://{folder}/report.html")
    assert "5000 cells" in find(driver, "#summary").text
    assert len(listed(driver)) == 500
    row = find(driver, "#cells tbody tr:nth-child(3)")
    found = driver.execute_script("const t = performance.now(); select(4500); return performance.now() - t")
    print(f"{found:.0f} ms from a click to the cell")
    assert driver.execute_script("return document.contains(arguments[0])", row), "another cell draws no row again"
    assert find(driver, "#cell-name").text.startswith("guidance.strength=0.046, schedule.interval=2")
    find(driver, "#all-rows").click()
    assert len(listed(driver)) == 5000
    assert not find(driver, "#all-rows").is_displayed()
