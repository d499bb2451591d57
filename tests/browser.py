"""A headless Chromium for tests of pages; tests that ask for it are skipped where Chromium and its driver are not installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)  # fmt: skip


@contextmanager
def open_browser() -> Iterator[Any]:
    """A selenium driver that records what pages say on their console and which addresses they ask for."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    webdriver = pytest.importorskip("selenium.webdriver")
    if None in programs:
        pytest.skip("needs Chromium and chromedriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    try:
        yield driver
    finally:
        driver.quit()
