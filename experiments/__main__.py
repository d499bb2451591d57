"""The published experiments by name, from the folder that has experiments/:

    python -m experiments list                   # what is built, and what is not
    python -m experiments run U1 --images 8      # costly: measures what is missing, then says what holds
    python -m experiments run U1 --anew          # costly: all of it, without what the repository keeps

Results go to outputs/studies/<script>, which studies of one script share: results.csv, pictures,
and for each study a report with claim, published figure, ours and verdict (<name>.md) and a sheet
of pictures (<name>.png). A study goes on where it was broken off, and a script of which the
repository keeps figures (experiments/<script>/kept/<weights>) goes on from these.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.claims import report
from experiments.results import begin_with_kept
from experiments.studies import NOT_BUILT, STUDIES
from qnerf.common.files import write_text
from qnerf.common.messages import sentence
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.scenes.images import write_image

EXPERIMENTS, OUTPUTS = Path(__file__).parent, Path("outputs/studies")


def main(arguments: Sequence[str]) -> int:
    """0: done; 2: an error that the user can correct, in one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the studies that are built, and those that are not")
    run = commands.add_parser("run", help="measure a study and say what holds")
    run.add_argument("study", help="its name, as `list` has it")
    run.add_argument("--images", type=int, default=64, help="the first so many images (64)")
    run.add_argument("--output", type=Path, default=OUTPUTS, help="the folder of all results (outputs/studies)")
    run.add_argument("--anew", action="store_true", help="do not begin with the figures that the repository keeps")
    given = parser.parse_args(arguments)

    def work() -> int:
        print(listing() if given.command == "list" else measure(given.study, given.images, given.output, given.anew))
        return 0

    return told_in_a_sentence(work, "give another --output")


def listing() -> str:
    """A line for each study."""
    built = [f"  {name:<8}  {study.title.removeprefix(f'{name}: ')}" for name, study in STUDIES.items()]
    missing = [f"  {name:<18}  {what}" for name, what in NOT_BUILT.items()]
    return "\n".join(["built: python -m experiments run <name> --images <count>", *built, "not built:", *missing])


def measure(name: str, images: int, output: Path, anew: bool) -> str:
    """The report of a study on the first so many images. anew: without what the repository keeps. Raises
    UserError for a study that is not built."""
    if name not in STUDIES:
        raise UserError(sentence("study", f"{name!r} is not built", name, list(STUDIES)))
    if images < 1:
        raise UserError(f"--images: got {images}; expected at least 1")
    study = STUDIES[name]
    script = study.script.__name__.split(".")[-2]  # pyright: ignore[reportAttributeAccessIssue]
    folder = output / script
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / study.script.RESULTS
    if anew and results.exists():
        raise UserError(f"{results} is there, and --anew begins with nothing: give another --output, or remove it.")
    columns = getattr(study.script, "COLUMNS", ())
    if not anew and (kept := begin_with_kept(results, EXPERIMENTS / script, columns)):
        print(f"Begun with {kept} figures that the repository keeps, without their pictures (--anew --output … measures all).")
    study.script.measure_all(folder, images, lambda row: row in study.rows)
    found = report(study, folder)
    write_text(folder / f"{name}.md", found + "\n")
    sheet = study.script.sheet(folder, study.rows)
    if sheet is None:
        return f"{found}\n\nNo pictures: all figures are kept ones. --anew with another --output measures them again."
    write_image(folder / f"{name}.png", sheet.transpose(2, 0, 1).astype(np.float32) / 255)
    return f"{found}\n\nPictures: {folder / f'{name}.png'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
