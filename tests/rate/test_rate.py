"""`qnerf rate`: the page under a hand and under keys in headless Chromium, and the ranks worked by hand."""

from __future__ import annotations

import csv
import io
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from qnerf.errors import UserError
from qnerf.rate.__main__ import main
from qnerf.rate.page import drawn_pairs
from qnerf.rate.summary import as_markdown, read_ratings, summarise, summary_of
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from tests.browser import open_browser

METHODS = ("ours", "rival", "other")
HEAD = "scene,rater,number,left,right,choice,seconds\n"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three methods, whose views are the source's in other colours."""
    folder = tmp_path_factory.mktemp("rate")
    write_scene(folder / "scene", build_scene(1, views=3, size=32))
    changes = {"ours": ImageOps.invert, "rival": ImageOps.mirror, "other": ImageOps.flip}
    for name, change in changes.items():
        (folder / name).mkdir()
        for path in (folder / "scene" / "images").iterdir():
            change(Image.open(path)).save(folder / name / path.name)
    given = [f"{name}={folder / name}" for name in METHODS]
    assert main([*given, "--source", str(folder / "scene"), "--out", str(folder / "rate.html")]) == 0
    return folder / "rate.html"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with open_browser() as driver:
        yield driver


def find(driver: Any, name: str) -> Any:
    return driver.find_element("id", name)


def saved(driver: Any) -> list[dict[str, str]]:
    """What the link would save."""
    text = urllib.parse.unquote(find(driver, "save").get_attribute("href").partition(",")[2])
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.integration
def test_choices_by_mouse_and_key_become_a_file_that_the_summary_reads(driver: Any, page: Path, tmp_path: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver.get(f"file://{page}")
    assert find(driver, "progress").text == "1 of 3"
    assert not any(name in driver.find_element("tag name", "body").text for name in METHODS), "the edits are unnamed"
    find(driver, "rater").send_keys('A, "B"')
    find(driver, "rater").send_keys(Keys.ARROW_LEFT)  # in the field it moves the cursor, and chooses nothing
    assert saved(driver) == []
    find(driver, "choose-left").click()
    assert find(driver, "progress").text == "2 of 3"
    find(driver, "turn").click()
    find(driver, "right").click()
    find(driver, "back").click()
    ActionChains(driver).send_keys(Keys.ARROW_DOWN).send_keys(Keys.ARROW_RIGHT).send_keys(Keys.ARROW_RIGHT).perform()
    assert find(driver, "done").is_displayed()
    assert not find(driver, "question").is_displayed()
    rows = saved(driver)
    assert [row["choice"] for row in rows] == ["left", "neither", "right"]
    assert [[row["left"], row["right"]] for row in rows] == drawn_pairs(METHODS, 0)
    assert {row["rater"] for row in rows} == {'A, "B"'}
    assert {row["scene"] for row in rows} == {"scene"}
    (tmp_path / "a.csv").write_text(urllib.parse.unquote(find(driver, "save").get_attribute("href").partition(",")[2]))
    assert summary_of([tmp_path / "a.csv"]).choices == 3
    severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


@pytest.mark.integration
def test_the_views_go_round_until_the_slider_is_moved(driver: Any, page: Path) -> None:
    driver.get(f"file://{page}")
    places = {driver.execute_script("turn(arguments[0]); return element('left').style.backgroundPosition", i) for i in range(3)}
    assert len(places) == 3
    assert driver.execute_script("return getComputedStyle(element('target')).backgroundImage").startswith('url("data:image/webp')
    driver.execute_script("element('view').value = 2; element('view').dispatchEvent(new Event('input'))")
    assert driver.execute_script("return [view, turning]") == [2, False]


def test_sides_and_order_are_drawn_and_every_pair_is_shown_once() -> None:
    drawn = [drawn_pairs(METHODS, seed) for seed in range(20)]
    assert all(sorted(map(sorted, pairs)) == [["other", "ours"], ["other", "rival"], ["ours", "rival"]] for pairs in drawn)
    assert len({str(pairs) for pairs in drawn}) > 10
    assert drawn[3] == drawn_pairs(METHODS, 3)


def ratings(folder: Path, *raters: str) -> list[Path]:
    """Each rater prefers ours to rival, rival to other, and finds ours and other alike."""
    rows = "s,{r},1,ours,rival,left,1\ns,{r},2,other,rival,right,1\ns,{r},3,other,ours,neither,1\n"
    for rater in raters:
        (folder / f"{rater}.csv").write_text(HEAD + rows.format(r=rater))
    return [folder / f"{rater}.csv" for rater in raters]


def test_ranks_are_one_more_than_the_rivals_that_were_preferred(tmp_path: Path) -> None:
    rated = summarise(read_ratings(ratings(tmp_path, "a", "b")))
    assert {name: rank.value for name, rank in rated.ranks.items()} == {"ours": 1.5, "rival": 2.0, "other": 2.5}
    assert (rated.raters, rated.scenes, rated.choices) == (2, 1, 6)
    assert "| ours | 1.50 | – |" in as_markdown(rated)
    many = as_markdown(summarise(read_ratings(ratings(tmp_path, *"abcdef"))))
    assert "| ours | 1.50 | 1.50 to 1.50 |" in many


def test_what_is_wrong_with_the_ratings_is_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, other = tmp_path / "bad.csv", tmp_path / "other.csv"
    bad.write_text(HEAD + "s,,1,a,b,left,1\ns,r,1,a,b,up,1\ns,r,2,b,a,left,1\n")
    other.write_text("x,y\n1,2\n")
    assert main(["--summary", str(bad), str(other), str(tmp_path / "none.csv")]) == 2
    error = capsys.readouterr().err
    for part in (
        "line 2 has no rater",
        "'up', expected one of left",
        "asked already",
        "no column scene",
        "none.csv cannot be read",
    ):
        assert part in error
    part, rows = tmp_path / "part.csv", "s,r,1,a,b,left,1\ns,q,1,a,c,left,1\n"
    part.write_text(HEAD + rows)
    with pytest.raises(UserError, match="r chose in 1 of the 3 pairs"):
        summary_of([part])
    assert main(["--summary"]) == 2
    assert main(["--summary", str(part), "--seed", "0"]) == 2


def test_wrong_options_are_told_together(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["folder"]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in ("folder: expected <name>=<folder>", "at least two", "--source: none given"))
    assert main(["a=x", "a=y", "b=", "--seed", "-1", "--source", "s"]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in ("b=: expected <name>=<folder>", "a: given more than once", "--seed: got -1"))
    (tmp_path / "less").mkdir()
    for name in ("000.png", "001.png"):
        (tmp_path / "less" / name).write_bytes((page.parent / "ours" / name).read_bytes())
    given = [f"ours={page.parent / 'ours'}", f"less={tmp_path / 'less'}", "--source", str(page.parent / "scene")]
    assert main([*given, "--out", str(tmp_path / "x.html")]) == 2
    assert "expected the same views of all methods" in capsys.readouterr().err
