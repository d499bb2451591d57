"""The comparison page of a sweep: `python -m qnerf.compare outputs/sweeps/<time>` writes report.html into its folder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import UserError
from qnerf.run import USER_ERROR

USAGE = "Usage: python -m qnerf.compare SWEEP_FOLDER   (the folder that holds results.csv and sweep.json)"


def main(arguments: Sequence[str]) -> int:
    """0: the page is written; 2: an error that the user can correct, in one sentence."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    if len(arguments) != 1:
        print(f"qnerf: expected one folder, got {len(arguments)}. {USAGE}", file=sys.stderr)
        return USER_ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        from qnerf.reports.comparison.page import write_comparison  # reading scenes takes torch: only once it is needed

        path = write_comparison(Path(arguments[0]))
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        return USER_ERROR
    print(f"{path} ({path.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
