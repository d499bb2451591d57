"""The paper's table (arXiv 2402.14792) beside ours: KID and FID of the edited views from the source views.

Figures do not compare, since scenes, models and features differ; orders do. The paper has QNeRF before each of its rivals, in
both figures. Here a rival's figure minus that of `paper`, QNeRF as published, is a mean over cells with an interval over scenes:
above 0 it is the paper's order, below 0 the other one, and around 0 nothing is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qnerf.benchmark.cells import BenchmarkCell
from qnerf.reports.bootstrap import LEAST_SCENES, Interval, mean_interval

OURS = "paper"
PUBLISHED = {
    "in2n": {"kid_source": 0.280, "fid_source": 201.0, "rank": 2.26},
    "csd": {"kid_source": 0.090, "fid_source": 87.0, "rank": 2.12},
    "tokenflow": {"kid_source": 0.440, "fid_source": 295.0, "rank": 3.70},
    OURS: {"kid_source": 0.072, "fid_source": 73.0, "rank": 1.90},
}
"""By method: KID, FID and the raters' mean rank, of three scenes and 20 raters."""
FIGURES = ("kid_source", "fid_source")
TITLE = "The paper's table"
NOTE = (
    "Published and ours. The features here are those of the shipped classifiers and not Inception's, so that only orders compare: "
    f"of {OURS} (QNeRF as published) and each rival, by a bootstrap over scenes of the difference, from {LEAST_SCENES} scenes on."
)
HEAD = ("method", "KID published", "KID", "KID: order", "FID published", "FID", "FID: order", "rank published")


@dataclass(frozen=True)
class Compared:
    """A method's figure here, and whether `paper` is before it as published ("same order", "other order" or "undecided"; "" of
    `paper` itself)."""

    here: Interval
    order: str


def compared(cells: Sequence[BenchmarkCell]) -> dict[str, dict[str, Compared]]:
    """By method of the paper's table and figure; empty where not every cell has all of them."""
    if not all(figure in cell.figures.get(method, {}) for cell in cells for method in PUBLISHED for figure in FIGURES):
        return {}
    scenes = [cell.scene for cell in cells]

    def one(method: str, figure: str) -> Compared:
        values, base = ([cell.figures[name][figure] for cell in cells] for name in (method, OURS))
        behind = mean_interval([a - b for a, b in zip(values, base, strict=True)], scenes)
        return Compared(mean_interval(values, scenes), "" if method == OURS else order_of(behind, method, figure))

    return {method: {figure: one(method, figure) for figure in FIGURES} for method in PUBLISHED}


def order_of(behind: Interval, method: str, figure: str) -> str:
    """behind: how far a rival's figure is above that of `paper` here."""
    if not behind.excludes_zero:
        return "undecided"
    published = PUBLISHED[method][figure] > PUBLISHED[OURS][figure]
    return "same order" if (behind.low > 0) == published else "other order"


def rows(found: dict[str, dict[str, Compared]]) -> list[list[str]]:
    """Cells of the table under `HEAD`, as text."""
    made = []
    for method, by_figure in found.items():
        line = [method]
        for figure, digits in (("kid_source", 3), ("fid_source", 0)):
            here, shown = by_figure[figure], PUBLISHED[method][figure]
            line += [f"{shown:.{digits}f}", in_words(here.here), here.order or "–"]
        made.append([*line, f"{PUBLISHED[method]['rank']:.2f}"])
    return made


def in_words(found: Interval) -> str:
    """A mean with its interval, if there is one."""
    if found.count < LEAST_SCENES:
        return f"{found.value:.3g} (n = {found.count})"
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def as_markdown(found: dict[str, dict[str, Compared]]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}", *(f"| {' | '.join(row)} |" for row in rows(found))]
    return f"## {TITLE}\n\n{NOTE}\n\n" + "\n".join(lines)
