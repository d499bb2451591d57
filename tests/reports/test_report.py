import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from qnerf.reports.charts import line_chart
from qnerf.reports.html import photo
from qnerf.reports.report import HeldOut, MethodReport, RunReport, render_report
from qnerf.reports.sheet import Column

VOID = {"meta", "img", "br", "link", "input"}


class Checker(HTMLParser):
    """Checks that tags are balanced, and collects text, tags and sources."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.bold: list[str] = []
        self.text = ""
        self._best = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        self.sources += [v for k in ("src", "href") if (v := values.get(k))]
        self._best = tag == "td" and values.get("class") == "best"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._best = False
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._best:
            self.bold.append(data)


def make_report(evil: str = "") -> RunReport:
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    methods = [
        MethodReport("independent", {"psnr_object": 20.0, "warp_error_moved": 0.08}, 60.0),
        MethodReport("oracle", {"psnr_object": 25.0, "warp_error_moved": 0.03}, 70.0),
        MethodReport(
            "full",
            {"psnr_object": 21.0, "warp_error_moved": 0.05},
            300.0,
            r2=[(25.0, {"up_1": 0.9, "up_2": 0.3}), (20.0, {"up_1": 0.95, "up_2": 0.5})],
            pictures=[("queries, first field", pixels)],
        ),
    ]
    return RunReport(
        title=f"articulation {evil}",
        command=f"python -m qnerf.run {evil}",
        edit=f"a figure {evil}",
        verdict="full is more consistent",
        warnings=[f"low inversion PSNR {evil}"],
        view_names=["0", "1"],
        columns=[Column(name, [pixels, pixels]) for name in ("source", "independent", "full")],
        orbit=b"mp4",
        poster=pixels,
        methods=methods,
        common={"reconstruction_psnr": 28.0},
        config=f"seed: 0 {evil}",
        versions={"torch": "2.13"},
    )


def parse(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    return checker


def test_figures_stand_with_and_without_kept_pixels() -> None:
    report = make_report()
    decoded = [replace(m, as_decoded={"psnr_object": value}) for m, value in zip(report.methods, (17.0, 19.5, 18.0), strict=True)]
    text = render_report(replace(report, methods=decoded))
    assert text.count("<table") == 2
    checker = parse(text)
    assert "as decoded, without kept pixels" in checker.text
    assert {"21.00 dB", "18.00 dB"} <= set(checker.bold)
    assert "without kept pixels" not in render_report(report)


def test_report_is_one_balanced_page_that_needs_nothing_else() -> None:
    checker = parse(render_report(make_report()))
    assert {"img", "video", "svg", "table"} <= checker.tags
    assert all(source.startswith("data:") for source in checker.sources)


def test_best_figures_are_bold_and_the_oracle_does_not_compete() -> None:
    checker = parse(render_report(make_report()))
    assert checker.bold == ["0.0500", "21.00 dB"]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&amp; ' \""])
def test_every_text_is_escaped(evil: str) -> None:
    text = render_report(make_report(evil))
    checker = parse(text)
    assert text.count("<script>") == 1, "the page's own"
    assert all(source.startswith("data:") for source in checker.sources)
    assert checker.text.count(evil) >= 5  # title, heading, prompt, warning, command, config: shown as it was written


def test_explanations_are_there_for_what_is_shown_only() -> None:
    text = parse(render_report(make_report())).text
    assert "over the visible pixels of the parts that the edit moved" in text
    assert "A radiance field is trained on most of the edited views" not in text


def test_chart_places_points_linearly_and_leaves_gaps() -> None:
    svg = line_chart({"a": [0.0, None, 1.0], "<b>": [0.5, 0.5, 0.5]}, [0.0, 5.0, 10.0], "step", "R²")
    lines = [[tuple(map(float, p.split(","))) for p in m.split()] for m in re.findall(r'points="([^"]*)"', svg)]
    (x0, y0), (x2, y2) = lines[0]
    assert [x for x, _ in lines[1]] == pytest.approx([x0, (x0 + x2) / 2, x2], abs=0.11)
    assert lines[1][0][1] == pytest.approx((y0 + y2) / 2, abs=0.11)
    assert y2 < y0
    assert "&lt;b&gt;" in svg


def test_chart_of_nothing_says_so() -> None:
    assert line_chart({"a": [None]}, [0.0], "x", "y") == "<p>Nothing to draw.</p>"


def test_every_view_of_every_column_is_there_once_with_its_name() -> None:
    text = render_report(make_report())
    assert len(re.findall(r'<img alt="(?:source|independent|full), view [01]"', text)) == 6
    assert all(f"<dt><b>{name}</b></dt><dd>" in text for name in ("independent", "oracle", "full")), "each method is explained"


def test_renderings_of_held_out_views_stand_beside_the_edited_ones() -> None:
    report = make_report()
    assert "Held-out views" not in render_report(report)
    rendered = HeldOut(1, np.full((8, 8, 3), 9, dtype=np.uint8), 24.126)
    text = render_report(replace(report, methods=[replace(m, held_out=[rendered]) for m in report.methods[:1]]))
    assert "view 1: 24.13 dB" in parse(text).text
    assert 'alt="independent, view 1, rendered"' in text
    assert '<img alt="" data-of="independent" data-view="1">' in text, "the page's script fills it in from the column"


def test_a_large_view_is_kept_as_a_jpeg_of_512_pixels() -> None:
    small, large = (photo(np.zeros((size, 2 * size, 3), np.uint8)) for size in (64, 1024))
    assert small.startswith("data:image/png")
    data = base64.b64decode(large.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(data)).size == (512, 256)
