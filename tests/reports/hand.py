"""A person's hand on a page: pointer, wheel and buttons of a browser, with the time that they cost
a person.

The keystroke-level model (Card, Moran and Newell, CACM 23, 1980): 1.35 s to think, 1.1 s to point,
0.2 s for a click. Each action is charged with all three, where practised users think once for
several. Reading: 238 words a minute (Brysbaert, Journal of Memory and Language 109, 2019).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

THINK, POINT, BUTTON = 1.35, 1.1, 0.1  # seconds; a click presses the button and lets it go
READ = 60 / 238  # seconds a word
COSTS = {"click": THINK + POINT + 2 * BUTTON, "drag": THINK + 2 * POINT + 2 * BUTTON, "scroll": THINK + POINT, "word": READ}


class Hand:
    """Points to within a pixel of the screen in either direction; seeded. actions: how many of each
    kind were made."""

    def __init__(self, browser: Any, seed: int) -> None:
        self.browser, self.rng, self.actions = browser, np.random.default_rng(seed), Counter[str]()

    @property
    def seconds(self) -> float:
        """What the actions cost a person."""
        return sum(COSTS[kind] * count for kind, count in self.actions.items())

    def read(self, selector: str) -> None:
        words = self.browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector)
        self.actions["word"] += len(" ".join(words).split())

    def press(self, element: Any) -> None:
        element.click()
        self.actions["click"] += 1

    def choose(self, select: Any, option: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(select).select_by_visible_text(option)
        self.actions["click"] += 2  # to open the list, and in it

    def click(self, canvas: Any, share: np.ndarray) -> None:
        """share: where in the canvas, 0 to 1."""
        self.scroll_to(canvas, share)
        self._act(self._near(self._at(canvas, share)))
        self.actions["click"] += 1

    def place(self, canvas: Any, share: np.ndarray) -> None:
        """A click that is held, since the page then shows it larger by FINER and moves it by so
        much less, and corrected by what the hand sees it miss."""
        self.scroll_to(canvas, share)
        aim = self._at(canvas, share)
        start = self._near(aim)
        self._act(start, self._near(start + self.browser.execute_script("return FINER") * (aim - start)))
        self.actions["drag"] += 1

    def drag(self, canvas: Any, start: np.ndarray, end: np.ndarray) -> None:
        self.scroll_to(canvas, start)
        self._act(self._near(self._at(canvas, start)), self._near(self._at(canvas, end)))
        self.actions["drag"] += 1

    def scroll_to(self, canvas: Any, share: np.ndarray) -> None:
        """Only where the place is out of sight, or under what stays at the top."""
        seen = (
            "const [canvas, y] = arguments, b = canvas.getBoundingClientRect(), at = b.top + y * b.height;"
            "const least = document.querySelector('.tools').getBoundingClientRect().bottom;"
        )
        if not self.browser.execute_script(f"{seen} return at > least + 4 && at < innerHeight - 4", canvas, float(share[1])):
            self.browser.execute_script(f"{seen} scrollBy(0, at - (least + innerHeight) / 2)", canvas, float(share[1]))
            self.actions["scroll"] += 1

    def _at(self, canvas: Any, share: np.ndarray) -> np.ndarray:
        """(2,) on the screen."""
        rectangle = self.browser.execute_script(
            "const b = arguments[0].getBoundingClientRect(); return [b.left, b.top, b.width, b.height]", canvas
        )
        return np.array(rectangle[:2]) + np.asarray(share) * rectangle[2:]

    def _near(self, at: np.ndarray) -> tuple[int, int]:
        """Where the hand comes to that aims at a place: whole pixels."""
        x, y = np.rint(at + self.rng.uniform(-1, 1, 2))
        return int(x), int(y)

    def _act(self, start: tuple[int, int], end: tuple[int, int] | None = None) -> None:
        from selenium.webdriver.common.actions.action_builder import ActionBuilder

        builder = ActionBuilder(self.browser, duration=20)
        pointer = builder.pointer_action
        pointer.move_to_location(*start)
        pointer.pointer_down()
        if end is not None:
            pointer.move_to_location((start[0] + end[0]) // 2, (start[1] + end[1]) // 2)
            pointer.move_to_location(*end)
        pointer.pointer_up()
        builder.perform()


def download_into(browser: Any, folder: Path) -> None:
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
