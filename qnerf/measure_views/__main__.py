"""`qnerf measure <folder of edited views> --source <capture>`: figures of any method's edited views whose cameras are known.

Writes measure.json and measure.html, and prints the table.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from qnerf.errors import told_in_a_sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 2: an error that the user can correct."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(given)
    return told_in_a_sentence(lambda: _measure(options, shlex.join(["qnerf", "measure", *given])), "give another --out")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf measure", description="Figures of edited views by any method.")
    add = made.add_argument
    add("folder", type=Path, help="edited views: a capture (transforms.json), or pictures named like the source's")
    add("--source", required=True, help="the capture that was edited: a folder, asset:<name>, procedural:<kind>_<seed>")
    add("--truth", type=Path, help="the true edited views: qnerf's truth folder, or pictures of the same names")
    add("--no-field", action="store_true", help="train no radiance field: seconds in the place of minutes")
    add("--out", type=Path, help="where measure.json and measure.html go (<folder>/measured)")
    add("--method", help="its name in a leaderboard (the name of the folder)")
    add("--commit", help="of the code that made the views, for a leaderboard")
    add("--weights", help="that made them, for a leaderboard")
    return made


def _measure(options: argparse.Namespace, command: str) -> int:
    from qnerf.common.files import write_json, write_text  # torch comes with these: not before the options are read
    from qnerf.measure_views.figures import measure_views, settings
    from qnerf.measure_views.page import as_page, as_record, as_text
    from qnerf.measure_views.reading import read_folders
    from qnerf.scenes.fingerprint import scene_fingerprint, scene_folder

    measured = read_folders(options.folder, options.source, options.truth)
    figures = measure_views(measured, settings(), field=not options.no_field)
    out = options.out or options.folder / "measured"
    source = scene_folder(options.source)
    capture = {"name": options.source, "fingerprint": scene_fingerprint(source)[:16]}
    method = options.method or options.folder.resolve().name
    made = {"method": method, "commit": options.commit, "weights": options.weights, "date": date.today().isoformat()}
    write_json(out / "measure.json", {**as_record(measured, figures, command), "capture": capture, "made": made})
    write_text(out / "measure.html", as_page(measured, figures, command))
    print(as_text(measured, figures))
    print(f"{out / 'measure.html'}: open it in a browser.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
