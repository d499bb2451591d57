"""`python -m qnerf.benchmark <folders of sweeps>`: the tables, the chart and the sheet of a benchmark, in the last one's folder.

python -m qnerf.run -m +exp=benchmark
python -m qnerf.benchmark outputs/sweeps/benchmark-<hash>
python -m qnerf.benchmark experiments/consolidation/benchmark        # kept results: all but the sheet of pictures
python -m qnerf.benchmark <folders> --leaderboard docs/leaderboard.md  # of sweeps and of records of `qnerf measure`: one page
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from qnerf.benchmark import published
from qnerf.benchmark.cells import LEAST_WARP_ERROR, BenchmarkCell, read_cells
from qnerf.benchmark.leaderboard import leaderboard
from qnerf.benchmark.pictures import benchmark_sheet
from qnerf.benchmark.tables import (
    AS_DECODED,
    ERROR_PARTS,
    MEANS,
    WARP_ERRORS,
    Row,
    gains,
    in_words,
    is_of_means,
    means,
    over,
    over_independent,
    over_looseness,
    shares_of_oracle,
    to_csv,
    to_markdown,
)
from qnerf.common.files import write_image, write_text
from qnerf.config import MAIN_METHOD
from qnerf.errors import told_in_a_sentence
from qnerf.reports.bootstrap import LEAST_SCENES
from qnerf.reports.charts import line_chart
from qnerf.reports.html import render
from qnerf.reports.report import Cell
from qnerf.runs.folder import CONFIG

TITLES = {
    MEANS: "Every method, mean over all cells",
    "gains": f"What {MAIN_METHOD} gains over each other method, where the independent edit is inconsistent",
    "methods": "What each method gains over the independent edit, in the same cells",
    "looseness": f"What {MAIN_METHOD} gains over the independent edit, by grade of control from tight to loose",
    "kinds": f"What {MAIN_METHOD} gains over the independent edit, by kind of object",
    "oracle": "Share of the oracle's gain over the independent edit that each method reaches",
}
KEPT = (
    "The figures are of the output, which keeps the source's pixels where nothing moves; the tables “as decoded” are of the "
    "model's own pictures."
)
NOT_KEPT = "The figures are of the model's own pictures: these runs keep no pixels of the source (output.keep_pixels)."
NOTE = (
    "Values with 95 % bootstrap intervals over scenes. A gain in a warp error (warp_error_…) is the share "
    "removed of the other method's warp error above its floor (- where nothing is above it). A gain in "
    "error_of_mean (squared error of the mean over views) or error_about_mean (variance between views) is "
    "the share of it removed. All other gains are differences; higher is better. of_agreement: the gain in "
    "PSNR, as a share of what the independent edit would gain if all its views showed their mean. There is "
    "something to consolidate where the independent edit's warp error on the moved parts is at least "
    f"{LEAST_WARP_ERROR} times its floor. With fewer than {LEAST_SCENES} scenes there is no interval, only "
    "their number (n)."
)


def tables(cells: Sequence[BenchmarkCell]) -> dict[str, list[Row]]:
    """All tables by name. Gains are over the cells with something to consolidate; by grade and kind, over all
    cells."""
    counted = [c for c in cells if c.is_inconsistent]
    kinds = sorted({c.kind for c in cells})
    by_kind = [Row(k, over([c for c in cells if c.kind == k])) for k in kinds]
    oracle = shares_of_oracle(counted)
    return {
        MEANS: means(cells),
        **({"gains": gains(counted), "methods": over_independent(counted)} if counted else {}),
        "looseness": over_looseness(cells),
        "kinds": by_kind,
        **({"oracle": oracle} if oracle else {}),
    }


def tables_as_decoded(cells: Sequence[BenchmarkCell]) -> dict[str, list[Row]]:
    """The same tables of the model's own pictures; none where a cell has no such figures."""
    own = [replace(c, figures=c.as_decoded) for c in cells]
    if not all(c.as_decoded for c in cells):
        return {}
    return {f"{name}{AS_DECODED}": rows for name, rows in tables(own).items()}


def title_of(name: str) -> str:
    """A table's."""
    plain = name.removesuffix(AS_DECODED)
    return TITLES[plain] if plain == name else f"{TITLES[plain]} (as decoded)"


def looseness_chart(rows: Sequence[Row]) -> str:
    """The shares of the warp errors that are removed, over the grades."""
    found = {name: [row.estimates[name].value for row in rows] for name in WARP_ERRORS if name in rows[0].estimates}
    series = {name: [None if math.isnan(value) else value for value in values] for name, values in found.items()}
    names = " to ".join(row.name for row in rows)
    return line_chart(series, list(range(1, len(rows) + 1)), f"grade of control: {names}", "share of the warp error removed")


def report(sweeps: Sequence[Path]) -> list[Path]:
    """Writes benchmark.md, .csv, .html, looseness.svg, and benchmark.png where the edits are still there; returns them."""
    cells, folder = read_cells(*sweeps), sweeps[-1]
    found, decoded = tables(cells), tables_as_decoded(cells)
    drawable = [cell for cell in cells if (cell.folder / CONFIG).is_file()]
    chart = looseness_chart(found["looseness"])
    counted = sum(c.is_inconsistent for c in cells)
    head = f"{len(cells)} cells, {len({c.scene for c in cells})} scenes; in {counted} cells there is something to consolidate."
    head += f" {KEPT if cells[0].keeps_pixels else NOT_KEPT}"
    found |= decoded
    text = [f"# Benchmark of edits\n\n{head}\n\n{NOTE}"]
    paper = published.compared(cells)
    text += [published.as_markdown(paper)] if paper else []
    text += [f"## {title_of(name)}\n\n{to_markdown(rows, name)}" for name, rows in found.items()]
    sheet, pictures = None, []
    if drawable:
        sheet, pictures = benchmark_sheet(drawable), [folder / "benchmark.png"]
        write_image(pictures[0], sheet)
    shown = [
        {"title": title_of(name), "head": ["", *rows[0].estimates], "rows": marked(rows, name)} for name, rows in found.items()
    ]
    if paper:
        lines = [[(text, "text" if place == 0 else "") for place, text in enumerate(row)] for row in published.rows(paper)]
        shown.insert(0, {"title": published.TITLE, "head": list(published.HEAD), "rows": lines})
    page = render("benchmark.html", title="Benchmark of edits", head=head, note=NOTE, tables=shown, chart=chart, sheet=sheet)
    written = {"benchmark.md": "\n\n".join(text) + "\n", "benchmark.csv": to_csv(found), "looseness.svg": chart}
    for name, content in {**written, "benchmark.html": page}.items():
        write_text(folder / name, content)
    print("\n\n".join(text))
    return [*(folder / name for name in (*written, "benchmark.html")), *pictures]


def marked(rows: Sequence[Row], name: str) -> list[list[Cell]]:
    """The cells of the table of that name. A gain is marked where its interval is above 0, except for the two
    parts of the error, which are neither good nor bad by themselves."""

    def estimate(row: Row, metric: str) -> Cell:
        gained = not is_of_means(name) and metric not in ERROR_PARTS and row.estimates[metric].low > 0
        return in_words(row.estimates[metric], metric, is_of_means(name)), "best" if gained else ""

    return [[(row.name, "text"), *(estimate(row, metric) for metric in rows[0].estimates)] for row in rows]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m qnerf.benchmark", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "sweep",
        type=Path,
        nargs="+",
        help="folders of sweeps, such as outputs/sweeps/benchmark-<hash>; where two have the same cell, the last counts",
    )
    parser.add_argument("--leaderboard", type=Path, metavar="PAGE", help="write this page alone: a row a method and folder")
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser.parse_args(given)

    def work() -> int:
        if options.leaderboard:
            command = shlex.join(["python", "-m", "qnerf.benchmark", *given])
            write_text(options.leaderboard, leaderboard(options.sweep, command))
        for path in [options.leaderboard] if options.leaderboard else report(options.sweep):
            print(path)
        return 0

    return told_in_a_sentence(work, "make the last sweep's folder one that can be written")


if __name__ == "__main__":
    sys.exit(main())
