"""What a finished grid cost, beside one inversion a scene and one edit a cell, from what its runs and the store have noted:

    python -m benchmarks.sweep_cost outputs/sweeps/<experiment>-<hash> [seconds of the whole command]

An edit's seconds count what it shares with other cells, as if it were alone. What is left of a cell is encoding, decoding, the
figures and its report. Without the seconds of the command the cells' own are added up, which holds for one process alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from qnerf.benchmark.pictures import read_settings
from qnerf.common.files import read_json
from qnerf.reports.results import read_rows
from qnerf.runs.identity import read_inputs, store_folder
from qnerf.runs.stages import Stages
from qnerf.store.key import folder_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", type=Path)
    parser.add_argument("seconds", type=float, nargs="?")
    arguments = parser.parse_args()
    rows = {row["identity"]: row for row in read_rows(arguments.sweep) if row["status"] == "done"}.values()
    inversions: dict[str, float] = {}
    edits = walls = 0.0
    for row in rows:
        settings = read_settings(Path(row["folder"]))
        stages = Stages(settings, read_inputs(settings))
        for key in (key for key in stages.all() if key.stage in ("inversion", "source_field", "posed")):
            noted = folder_of(store_folder(settings), key) / "done.json"
            if not noted.is_file():
                parser.error(f"{noted} is not there: the store was pruned or the code has changed since the sweep; run it anew")
            inversions[key.identity] = read_json(noted)["seconds"]
        edits += sum(float(row[f"methods.{name}.seconds"]) for name in settings.methods())
        walls += float(row["wall_seconds"])
    alone, took = sum(inversions.values()) + edits, arguments.seconds or walls
    print(f"{len(rows)} cells: {len(inversions)} inversions of {sum(inversions.values()):.0f} s in all, edits of {edits:.0f} s")
    print(f"took {took:.0f} s, {took / alone:.3f} times these; a cell with its inversion kept {walls / len(rows):.1f} s")


if __name__ == "__main__":
    main()
