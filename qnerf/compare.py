"""The comparison page of a sweep: `python -m qnerf.compare outputs/sweeps/<time>` writes report.html into its folder."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import told_in_a_sentence


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="qnerf compare", description="Write the comparison page of a sweep, report.html, into its folder."
    )
    made.add_argument("folder", type=Path, metavar="SWEEP_FOLDER", help="the folder that holds results.csv and sweep.json")
    return made


def main(arguments: Sequence[str]) -> int:
    """0: the page is written; 2: an error that the user can correct, in one sentence."""
    given = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return told_in_a_sentence(lambda: _compare(given.folder), "make the sweep's folder one that can be written")


def _compare(folder: Path) -> int:
    from qnerf.reports.comparison.page import write_comparison  # reading scenes takes torch: only once it is needed

    path = write_comparison(folder)
    print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
