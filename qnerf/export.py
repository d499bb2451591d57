"""The edited views for other programs: `qnerf export <run folder> --to colmap` writes images and cameras, `--to ply` the points of
their radiance field, in the axes and units of the capture's own world."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.errors import UserError, told_in_a_sentence
from qnerf.scenes.captures_out import WRITERS, write_out
from qnerf.scenes.readers.reader import Frame, reader_of

MODELS = ("ply", "splat")
FRAMES = 90  # of the film


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf export", description="The edited views of a run as a capture for other programs.")
    made.add_argument("run", type=Path, help="the folder of a run, or of any capture with pinhole cameras")
    form = "nerfstudio, colmap: images and cameras; ply, splat: their radiance field as points or Gaussians, a film, a page"
    made.add_argument("--to", choices=(*WRITERS, *MODELS), required=True, help=form)
    made.add_argument("--out", type=Path, help="the new folder (<run>-<form> in the current one)")
    made.add_argument("--full", action="store_true", help="the views at the photographs' own resolution (edited/full)")
    made.add_argument("--steps", type=int, help="of the field's training (the run's source_field.optimiser.iterations)")
    made.add_argument("--frames", type=int, default=FRAMES, help=f"of the film of ply and splat ({FRAMES})")
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
    if given.to in MODELS:
        return _export_model(given, folder, frames, out)
    write_out(out, frames, given.to)
    print(f"{out}: {len(frames)} views for {given.to}.")
    return 0


def _export_model(given: argparse.Namespace, folder: Path, frames: list[Frame], out: Path) -> int:
    """The radiance field of the views, as points or Gaussians: a new folder, whole or not at all."""
    if out.exists():
        raise UserError(f"{out} exists already, expected a new folder: choose another with --out.")
    if given.frames < 2 or (given.steps is not None and given.steps < 1):
        raise UserError(f"--frames is {given.frames} and --steps {given.steps}, expected at least 2 and 1.")
    from qnerf.reports.surfaces.model import settings_of, source_of, train_models, views_of  # torch, for those alone who need it
    from qnerf.reports.surfaces.write import write_model

    scene = views_of(folder, frames)
    before, field, seed = settings_of(given.run)
    if given.steps is not None:
        field = field.model_copy(update={"optimiser": field.optimiser.model_copy(update={"iterations": given.steps})})
    source = None if before is None or given.full else source_of(before, scene)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        names = write_model(partial, train_models(scene, source, field, seed, print), given.to, given.frames, print)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{out}: {', '.join(names)}. Open {out / 'viewer.html'} in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
