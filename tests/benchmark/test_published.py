"""The paper's table beside ours, on cases worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from qnerf.benchmark.cells import BenchmarkCell
from qnerf.benchmark.published import PUBLISHED, as_markdown, compared, order_of, rows
from qnerf.reports.bootstrap import Interval


def cells(count: int, **kid: float) -> list[BenchmarkCell]:
    """Scenes whose figures vary, by as much for all methods: their differences are those of the means."""
    made = []
    for scene in range(count):
        figures = {m: {"kid_source": kid[m] + 0.1 * scene, "fid_source": 10 * kid[m] + scene} for m in PUBLISHED}
        figures["csd"]["fid_source"] += 5 * (-1) ** scene
        made.append(BenchmarkCell(f"toy_{scene}", "toy", "ends", Path("unused"), figures))
    return made


KID = {"paper": 0.3, "in2n": 0.5, "csd": 0.35, "tokenflow": 0.2}


def test_an_order_is_the_papers_the_other_or_undecided() -> None:
    found = compared(cells(8, **KID))
    assert [found[m]["kid_source"].order for m in ("in2n", "csd", "tokenflow", "paper")] == [
        "same order",
        "same order",
        "other order",
        "",
    ]
    assert found["csd"]["fid_source"].order == "undecided"
    assert found["in2n"]["kid_source"].here.value == pytest.approx(0.85)


def test_few_scenes_decide_nothing() -> None:
    found = compared(cells(4, **KID))
    assert {each.order for by_figure in found.values() for each in by_figure.values()} == {"", "undecided"}
    assert rows(found)[0][:4] == ["in2n", "0.280", "0.65 (n = 4)", "undecided"]


def test_the_table_has_the_published_numbers_and_needs_all_methods() -> None:
    text = as_markdown(compared(cells(8, **KID)))
    assert "| paper | 0.072 |" in text
    assert "| 73 |" in text
    assert "| 3.70 |" in text
    alone = [BenchmarkCell("toy_0", "toy", "ends", Path("unused"), {"paper": {"kid_source": 1.0}})]
    assert compared(alone) == {}


def test_an_order_is_read_from_the_whole_interval() -> None:
    assert order_of(Interval(1.0, -0.1, 2.0, 8), "csd", "kid_source") == "undecided"
    assert order_of(Interval(-1.0, -2.0, -0.1, 8), "csd", "kid_source") == "other order"
