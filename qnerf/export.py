"""The edited views as a capture for other programs: `qnerf export <run folder> --to colmap` writes images and
cameras, in the axes and units of the capture's own world."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import UserError, told_in_a_sentence
from qnerf.scenes.captures_out import WRITERS, write_out
from qnerf.scenes.readers.reader import reader_of


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf export", description="The edited views of a run as a capture for other programs.")
    made.add_argument("run", type=Path, help="the folder of a run, or of any capture with pinhole cameras")
    made.add_argument("--to", choices=tuple(WRITERS), required=True, help="the form of the cameras")
    made.add_argument("--out", type=Path, help="the new folder (<run>-<form> in the current one)")
    made.add_argument("--full", action="store_true", help="the views at the photographs' own resolution (edited/full)")
    return made


def main(arguments: Sequence[str]) -> int:
    """0: the capture is written; 2: an error that the user can correct, in one sentence."""
    given = parser().parse_args(arguments)
    return told_in_a_sentence(lambda: _export(given), "give another --out")


def _export(given: argparse.Namespace) -> int:
    out = given.out or Path(f"{given.run.resolve().name}-{given.to}")
    folder = given.run / "edited/full" if given.full else given.run
    if not given.run.is_dir():
        raise UserError(f"{given.run} is no folder, expected that of a run or another capture: correct the path.")
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist, since the photographs are no larger than the views: leave --full out.")
    reader = reader_of(folder)
    if not reader.posed:
        raise UserError(f"{folder} has images without cameras, expected a run or another capture: give its folder.")
    frames = [frame for frame in reader.read(folder)[1] if frame.exists]
    if not frames:
        raise UserError(f"{folder} has none of the images that it names: run the edit again.")
    write_out(out, frames, given.to)
    print(f"{out}: {len(frames)} views for {given.to}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
