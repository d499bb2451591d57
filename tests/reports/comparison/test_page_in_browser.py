"""The page as a user has it, in headless Chromium: what is clicked is what results.csv says."""

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from qnerf.reports.bootstrap import LEAST_SCENES
from qnerf.reports.comparison.groups import intervals
from qnerf.reports.comparison.page import write_comparison
from qnerf.reports.results import read_sweep
from tests.reports.comparison.hands import choose, find, rows_of, square
from tests.reports.comparison.synthetic import STRENGTHS, make_sweep

pytestmark = pytest.mark.integration

DIGITS = {"warp_error_moved": 4, "psnr_object": 2}


@pytest.mark.parametrize("metric", ["warp_error_moved", "psnr_object"])
def test_a_square_is_the_mean_over_scenes_and_seeds_of_the_table(page: Any, sweep: Path, metric: str) -> None:
    choose(page, "metric", metric)
    for column, strength in enumerate(STRENGTHS):
        rows = rows_of(sweep, guidance__strength=strength, schedule__interval="3")
        values = [float(row[metric]) for row in rows]
        assert len(values) == 4
        [shown] = re.findall(r"\d+\.\d+", square(page, 0, column).text)  # two scenes make no interval
        assert float(shown) == pytest.approx(sum(values) / 4, abs=0.6 * 10 ** -DIGITS[metric])
    assert square(page, 1, 2).text == "failed"


def test_a_square_of_six_scenes_shows_the_interval_that_python_computed(driver: Any, tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, strengths=("0.01", "0.02"), intervals=("3",), scenes=LEAST_SCENES)
    driver.get(f"file://{write_comparison(folder)}")
    found = intervals(read_sweep(folder))
    for column, strength in enumerate(("0.01", "0.02")):
        cells = [i for i, row in enumerate(rows_of(folder)) if row["guidance.strength"] == strength]
        expected = found[",".join(map(str, cells))]["warp_error_moved"]
        assert re.findall(r"\d+\.\d+", square(driver, 0, column).text)[1:] == [f"{end:.4f}" for end in expected]


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
    expected = sum(float(row["warp_error_moved"]) for row in rows) / len(rows)
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


def test_the_best_cell_is_chosen_at_first_and_the_colours_have_a_scale(page: Any, sweep: Path) -> None:
    values = {row["guidance.strength"]: [] for row in rows_of(sweep)}
    for row in rows_of(sweep, schedule__interval="3"):
        values[row["guidance.strength"]].append(float(row["warp_error_moved"]))
    means = {strength: sum(found) / len(found) for strength, found in values.items()}
    best = min(means, key=lambda strength: means[strength])
    assert f"guidance.strength={best}, schedule.interval=3" in find(page, "#cell-name").text
    low, high = (float(text) for text in re.findall(r"\d+\.\d+", find(page, "#scale").text))
    assert low == pytest.approx(means[best], abs=6e-5)
    assert high > low


def test_a_pinned_cell_stands_beside_those_that_are_chosen_next(page: Any, sweep: Path) -> None:
    square(page, 0, 0).click()
    find(page, "#pin").click()
    first = find(page, '#figures [data-metric="psnr_object"] td:last-child').text
    square(page, 0, 1).click()
    assert [cell.text for cell in page.find_elements("css selector", "#figures thead th")] == ["figure", "this cell", "pinned"]
    assert find(page, '#figures [data-metric="psnr_object"] td:last-child').text == first
    choose(page, "against", "pinned")
    assert page.execute_script("return document.querySelector('#stage span').textContent") == "pinned"
    square(page, 0, 0).click()
    find(page, "#pin").click()
    assert find(page, "#pin").text.startswith("Pin")


def test_colours_of_noise_are_not_spread_over_the_whole_range(page: Any) -> None:
    found = page.execute_script(
        "return colourRange([{mean: .1347, interval: [.12, .15], runs: 6}, {mean: .1371, interval: [.12, .15], runs: 6}])"
    )
    assert found["isWidened"]
    assert found["high"] - found["low"] == pytest.approx(0.03)
    alone = page.execute_script("return colourRange([{mean: 1, interval: null, runs: 1}, {mean: 3, interval: null, runs: 1}])")
    assert (alone["low"], alone["high"], alone["isWidened"]) == (1, 3, False)


def test_the_table_is_exported_as_it_is_shown(page: Any, sweep: Path) -> None:
    page.execute_script("URL.createObjectURL = (blob) => { blob.text().then((text) => { window.exported = text; }); return '#'; };")
    headings = page.find_elements("css selector", "#cells thead button")
    next(heading for heading in headings if heading.text.startswith("PSNR, object")).click()
    find(page, "#download").click()
    deadline = time.monotonic() + 10
    while not (text := page.execute_script("return window.exported")):
        assert time.monotonic() < deadline
    rows = list(csv.DictReader(io.StringIO(text)))
    values = [float(row["PSNR, object"]) for row in rows if row["PSNR, object"]]
    assert values == sorted(float(row["psnr_object"]) for row in rows_of(sweep) if row["psnr_object"])
    assert {row["guidance.strength"] for row in rows} == set(STRENGTHS)
