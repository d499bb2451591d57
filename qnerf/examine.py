"""The old name of `python -m qnerf.evaluate_backbone`, which this module names before it stops."""

from __future__ import annotations

import sys

USER_ERROR = 2

if __name__ == "__main__":
    print("qnerf: qnerf.examine has a new name; run python -m qnerf.evaluate_backbone instead", file=sys.stderr)
    sys.exit(USER_ERROR)
