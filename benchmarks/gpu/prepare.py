"""What the timing needs, a minute of CPU work: a scene, and a model of Stable Diffusion 1.5's size with random weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.bench_edit import prepare

READY = "ready.json"  # in the folder, written last: the overrides of a run on them
VIEWS, TOY_VIEWS = 20, 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--toy", action="store_true")
    arguments = parser.parse_args()
    size, views = ("tiny", TOY_VIEWS) if arguments.toy else ("sd15", VIEWS)
    overrides = [*prepare(arguments.folder, views, size), "metrics=quick"]
    fresh = arguments.folder / f"{READY}.partial"
    fresh.write_text(json.dumps({"size": size, "views": views, "overrides": overrides}), encoding="utf-8")
    fresh.replace(arguments.folder / READY)


if __name__ == "__main__":
    main()
