"""`qnerf rate <name>=<folder> <name>=<folder> … --source <capture>` writes the page on which raters choose between unnamed edits;
`qnerf rate --summary <file> …` prints the mean ranks of what they chose."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import write_text
from qnerf.errors import UserError, told_in_a_sentence


def main(arguments: Sequence[str] | None = None) -> int:
    """0: written; 2: an error that the user can correct."""
    options = parser().parse_args(arguments)
    return told_in_a_sentence(lambda: _summary(options.given) if options.summary else _page(options))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf rate", description="Raters choose between unnamed edits of one scene.")
    add = made.add_argument
    add("given", nargs="*", metavar="name=folder", help="edited views by method; with --summary the files that raters saved")
    add("--source", help="the capture that was edited: a folder, asset:<name>, procedural:<kind>_<seed>")
    add("--seed", type=int, default=0, help="draws sides and order of the pairs (0)")
    add("--out", type=Path, default=Path("rate.html"), help="the page (rate.html)")
    add("--summary", action="store_true", help="print the mean ranks of the files that raters saved")
    return made


def _page(options: argparse.Namespace) -> int:
    problems = [f"{word}: expected <name>=<folder>: name the method" for word in options.given if "=" not in word]
    folders = {name: Path(path) for name, _, path in (word.partition("=") for word in options.given)}
    if len(folders) < 2 or len(folders) < len(options.given):
        problems.append(f"{len(folders)} methods with names of their own, expected at least two, each with another name: add one")
    source: str | None = options.source
    if source is None:
        problems.append("--source: none given, expected the capture that was edited")
    if problems or source is None:
        raise UserError("\n".join(problems))
    from qnerf.rate.page import rating_page  # torch comes with it: not before the options are good

    write_text(options.out, rating_page(folders, source, options.seed))
    print(f"{options.out}: open it in a browser, and send it to the raters; each sends a CSV file back.")
    return 0


def _summary(given: Sequence[str]) -> int:
    from qnerf.rate.summary import as_markdown, summary_of

    print(as_markdown(summary_of([Path(path) for path in given])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
