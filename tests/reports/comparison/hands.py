"""What a user does on the page, and reads there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


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
