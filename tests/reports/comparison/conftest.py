"""One browser and one made-up sweep for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qnerf.reports.comparison.page import write_comparison
from tests.browser import open_browser
from tests.reports.comparison.synthetic import make_sweep


@pytest.fixture(scope="package")
def driver() -> Iterator[Any]:
    with open_browser() as driver:
        driver.implicitly_wait(5)
        yield driver


@pytest.fixture(scope="package")
def sweep(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_sweep(tmp_path_factory.mktemp("browser"))
    write_comparison(folder)
    return folder


@pytest.fixture
def page(driver: Any, sweep: Path) -> Any:
    driver.get(f"file://{sweep}/report.html")
    return driver
